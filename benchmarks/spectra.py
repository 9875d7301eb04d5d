"""Spectra with photometry against FSPS through Prospector: accuracy, and time per vector.

    python benchmarks/spectra.py [--quick] [--fit]

1,500 pixels (5500-11000 A, z = 0.7), 20 bands, batches of 256, Prospector's continuity model;
times are of the processor, one thread. Errors are the largest over pixels and vectors, in
units of the median flux; ln P is compared at vectors near the truth of a mock (chi^2 about the
number of data) and from the prior. Without FSPS (SPS_HOME), or with --quick, the drop-in alone is
compared. --fit fits the 18-parameter model (17 free at z = 0.7) with free gas_logu, sigma_smooth
and spec_jitter and a polynomial of order 10 to such a mock: 1000 live points, walks of 100 steps,
one run.
"""

import os
import sys
import time

import numpy as np
from prospect.fitting import lnprobfn
from prospect.likelihood import NoiseModel
from prospect.likelihood.kernels import Uncorrelated
from prospect.models import PolySpecModel, SpecModel, priors
from prospect.models.templates import TemplateLibrary
from prospect.utils.obsutils import fix_obs
from threadpoolctl import threadpool_limits

from prospect_emu import BatchedPosterior, EmulatorSPS, FitResult, fit_model
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.mathews23 import model_params

NPIX, BATCH, REPEATS, NEAR, FAR = 1500, 256, 15, 6, 6
BANDS = [f"sdss_{b}0" for b in "ugriz"] + [f"twomass_{b}" for b in ("J", "H", "Ks")]
BANDS += [f"spitzer_irac_ch{i}" for i in (1, 2, 3, 4)] + [f"wise_w{i}" for i in (1, 2, 3, 4)]
BANDS += ["galex_FUV", "galex_NUV", "spitzer_mips_24", "acs_wfc_f814w"]
APART = {"nebemlineinspec": False}
PRIOR = APART | {"marginalize_elines": True, "use_eline_prior": True, "eline_prior_width": 0.2}
POLY = {"polyorder": 10}
SIGMA, WIDTH = ("sigma_smooth", (30.0, 400.0)), ("eline_sigma", (60.0, 400.0))
CASES = {
    "lines in the spectrum": (SpecModel, {}, ()),
    "direct smoothing, Angstrom": (
        SpecModel, {"smoothtype": "lambda", "fftsmooth": False, "sigma_smooth": 30.0}, ()
    ),
    "lines apart": (SpecModel, APART, ()),
    "polynomial of order 10, lines apart": (PolySpecModel, APART | POLY, ()),
    "polynomial, sigma_smooth free": (PolySpecModel, APART | POLY, (SIGMA,)),
    "marginalised with a prior": (SpecModel, PRIOR, ()),
    "marginalised, polynomial": (PolySpecModel, PRIOR | POLY, ()),
    "marginalised, polynomial, both widths free": (PolySpecModel, PRIOR | POLY, (SIGMA, WIDTH)),
}  # fmt: skip


def problem(kind, fixed, free, sps, seed=0):
    """Model, mock data and their vector."""
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary["nebular"])
    params.update(TemplateLibrary["dust_emission"])
    params["zred"] |= {"isfree": False, "init": 0.7}
    params["dust_type"]["init"] = 4
    params["dust_index"] = {"N": 1, "isfree": False, "init": -0.2}
    for key, value in (
        {"sigma_smooth": 300.0, "eline_sigma": 200.0, "imf_type": 1} | fixed
    ).items():
        params[key] = {"N": 1, "isfree": False, "init": value}
    params["gas_logu"]["init"] = -1.0
    for name, (low, high) in free:
        prior = priors.TopHat(mini=low, maxi=high)
        params[name] = {"N": 1, "isfree": True, "init": 200.0, "prior": prior}
    model = kind(params)
    rng = np.random.default_rng(seed)
    one = np.ones(NPIX)
    obs = fix_obs(
        {
            "wavelength": np.linspace(5500.0, 11000.0, NPIX), "spectrum": one, "unc": one,
            "filters": load_filters(BANDS), "maggies": np.ones(20), "maggies_unc": np.ones(20),
        }
    )  # fmt: skip
    theta = model.prior_transform(np.full(model.ndim, 0.5))
    fitted = model.params.pop("marginalize_elines", False)
    spec, phot, _ = SpecModel.predict(model, theta, obs=obs, sps=sps)
    model.params["marginalize_elines"] = fitted
    noise = 1.0 + 0.05 * rng.standard_normal(NPIX + 20)
    obs |= {"spectrum": spec * noise[:NPIX], "unc": 0.05 * spec}
    obs |= {"maggies": phot * noise[NPIX:], "maggies_unc": 0.05 * phot}
    return model, obs, theta


def accuracy(model, obs, theta, posterior, other):
    """Largest error of a pixel and of ln P, near the truth and from the prior."""
    rng = np.random.default_rng(1)
    unit = 0.5 + 5e-4 * rng.standard_normal((NEAR, model.ndim))
    rows = np.concatenate([unit, 0.2 + 0.6 * rng.random((FAR, model.ndim))])
    rows = posterior.prior_transform(rows)
    off, lnp, chi2 = [], [], []
    for row, got, value in zip(
        rows, posterior.spectrum(rows), posterior.log_likelihood(rows), strict=True
    ):
        want, phot, _ = model.predict(row, obs=obs, sps=other)
        off.append(np.abs(got - want).max() / np.median(want))
        lnp.append(abs(value - lnprobfn(row, model=model, obs=obs, sps=other, nested=True)))
        residuals = (want - obs["spectrum"]) / obs["unc"]
        chi2.append(
            (residuals**2).sum() + (((phot - obs["maggies"]) / obs["maggies_unc"]) ** 2).sum()
        )
    far = np.array(lnp[NEAR:]) / np.array(chi2[NEAR:])
    return (
        f"pixels {max(off):.1e} of the median, ln P near the data {max(lnp[:NEAR]):.1e} "
        f"(chi^2 {np.median(chi2[:NEAR]):.0f}), elsewhere {max(far):.1e} of chi^2"
    )


def pace(function, rows, repeats):
    """Microseconds per row, at best and in the median."""
    spent = []
    for _ in range(repeats):
        start = time.process_time()
        function(rows)
        spent.append(1e6 * (time.process_time() - start) / len(rows))
    return min(spent), np.median(spent)


def report(name, kind, fixed, free, sps, fsps):
    """Print accuracy and times of one model."""
    model, obs, theta = problem(kind, fixed, free, sps)
    start = time.process_time()
    posterior = BatchedPosterior(model, obs, sps)
    ready = time.process_time() - start
    rows = posterior.prior_transform(np.random.default_rng(0).random((BATCH, model.ndim)))
    posterior.log_likelihood(rows)
    best, median = pace(posterior.log_likelihood, rows, REPEATS)
    print(
        f"{name}: {best:.1f} us per ln L at best, {median:.1f} in the median; {ready:.1f} s ready"
    )
    for label, other in (("drop-in", sps), ("FSPS", fsps)):
        if other is None:
            continue
        print(f"    against {label}: {accuracy(model, obs, theta, posterior, other)}")

        def one_by_one(some, other=other):
            for row in some:
                lnprobfn(row, model=model, obs=obs, sps=other, nested=True)

        slow = pace(one_by_one, rows[:5], 2)[0]
        print(
            f"    {label}: {slow / 1e3:.1f} ms per ln L, {slow / best:.0f} times as long",
            flush=True,
        )


def whole_fit(sps, fsps):
    """Time of a fit of 20 parameters, and of Prospector's likelihood with FSPS."""
    model, obs, _ = problem(PolySpecModel, APART | POLY, (), sps)
    params = model_params(zred=0.7)
    for name, value in (APART | POLY).items():
        params[name] = {"N": 1, "isfree": False, "init": value}
    free = (SIGMA, ("spec_jitter", (0.5, 2.0)), ("gas_logu", (-4.0, -1.0)))
    for name, (low, high) in free:
        prior = priors.TopHat(mini=low, maxi=high)
        params[name] = {"N": 1, "isfree": True, "init": 1.0, "prior": prior}
    model = PolySpecModel(params)
    noise = NoiseModel(
        metric_name="unc", kernels=[Uncorrelated(parnames=["spec_jitter"])], weight_by=["unc"]
    )
    wall, start = time.perf_counter(), time.process_time()
    posterior = BatchedPosterior(model, obs, sps, (noise, None))
    rows = posterior.prior_transform(np.random.default_rng(0).random((64, model.ndim)))
    print(f"{time.process_time() - start:.1f} s ready", flush=True)
    print(
        f"{pace(posterior.log_likelihood, rows, 5)[0]:.1f} us a vector in batches of 64", flush=True
    )
    if fsps is not None:
        # FSPS takes 10 s more for each metallicity that is new to it.
        near = rows[0, model.theta_index["massmet"]]
        near = near + 0.01 * np.random.default_rng(1).standard_normal((len(rows), 2))
        rows[:, model.theta_index["massmet"]] = near
        for row in rows[:8]:
            start_one = time.process_time()
            value = lnprobfn(row, model, obs, fsps, (noise, None), nested=True)
            print(
                f"FSPS: {1e3 * (time.process_time() - start_one):.0f} ms, ln P {value:.3f}, here "
                f"{posterior.log_likelihood(row[None])[0]:.3f}", flush=True,
            )  # fmt: skip
        wall, start = time.perf_counter(), time.process_time()
    output = fit_model(
        obs, model, sps, (noise, None), seed=1, nested_nlive_init=1000, nested_walks=100,
        nested_forget=None, nested_max_runs=1, nested_maxbatch=0, progress=True,
    )  # fmt: skip
    spent, wall = time.process_time() - start, time.perf_counter() - wall
    result = FitResult.from_run(output, model, obs, sps)
    d = result.info["diagnostics"]
    print(
        f"{model.ndim} parameters: {spent:.0f} s of the processor ({wall:.0f} s on the clock), "
        f"{result.info['ncall']} calls, {result.n_eff:.0f} effective samples, status "
        f"{result.info['status']}; {d}"
    )


def main():
    """All models."""
    fsps = None
    if os.environ.get("SPS_HOME") and "--quick" not in sys.argv:
        from prospect.sources import FastStepBasis

        fsps = FastStepBasis(zcontinuous=1)
    if "--fit" in sys.argv:
        return whole_fit(EmulatorSPS(), fsps)
    sps = EmulatorSPS()
    for name, case in CASES.items():
        report(name, *case, sps, fsps)
    return None


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
