"""Mocks of PRISM-like spectra with photometry: calibration, gain over photometry, faulty data.

    python benchmarks/spectra_mocks.py FILE [--mocks N] [--nlive N]

300 pixels from 0.6 to 5.3 um of R = 30-300, S/N 5-30 a pixel, lines at the line-spread function,
10 bands of S/N 20, calibrated by a polynomial of order 3; truths are drawn from the prior of a
continuity model with nebular emission and free dust. Each mock is fitted with the spectrum and
without; each fifth three times more: its spectrum tilted by 5 % end to end, with the polynomial and
without, and with lines that are 1.3 times as wide in the data as the fit is told. Walks are those
of the default preset; live points are fewer, in one run of 1000 effective samples. Each fit is
added to FILE (JSON lines) as it ends, and is not repeated; then all are summarised.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from prospect.models import PolySpecModel, SpecModel, priors
from prospect.utils.obsutils import fix_obs
from scipy.stats import kstest
from threadpoolctl import threadpool_limits

from prospect_emu import EmulatorSPS, fit_model
from prospect_emu.cosmology import LIGHTSPEED_KMS
from prospect_emu.fit.posterior import BatchedPosterior
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.line_table import emission_line_wavelengths
from prospect_emu.prospector.templates import template_params

NPIX = 300
BANDS = [f"jwst_f{b}" for b in ("070w", "090w", "115w", "150w", "200w", "277w", "356w", "444w")]
BANDS += ["acs_wfc_f435w", "acs_wfc_f606w"]
# Of the NIRSpec prism: wavelength in um and resolving power (FWHM), roughly.
PRISM = np.array([[0.6, 90], [0.8, 55], [1.2, 32], [2.0, 55], [3.0, 120], [4.0, 200], [5.3, 300]])
WIDER = 1.3
# What is fitted, and of which mocks: each, or each fifth.
CASES = {"both": 1, "photometry": 1, "tilted": 5, "tilted, plain": 5, "wider lines": 5}


def resolving_power(wave):
    """R of wavelengths in Angstrom."""
    return np.interp(wave / 1e4, *PRISM.T)


def make_model(kind, zred, wider=1.0):
    """A continuity model whose lines have the width of the line-spread function, or `wider`."""
    params, _ = template_params("continuity_sfh+nebular", zred)
    params["imf_type"]["init"] = 1
    params["dust_type"]["init"] = 4
    params["logmass"]["prior"] = priors.TopHat(mini=8.0, maxi=12.0)
    params["dust2"]["prior"] = priors.TopHat(mini=0.0, maxi=2.0)
    params["dust_index"] = {
        "N": 1, "isfree": True, "init": -0.2, "prior": priors.TopHat(mini=-1.0, maxi=0.4)
    }  # fmt: skip
    del params["gas_logz"]["depends_on"]
    params["gas_logz"] |= {"isfree": True, "prior": priors.TopHat(mini=-2.0, maxi=0.5)}
    lines = emission_line_wavelengths() * (1.0 + zred)
    width = wider * LIGHTSPEED_KMS / (2.355 * resolving_power(lines))
    fixed = {"nebemlineinspec": False, "eline_sigma": width, "sigma_smooth": 1000.0, "polyorder": 3}
    for name, value in fixed.items():
        params[name] = {"N": np.size(value), "isfree": False, "init": value}
    return kind(params)


def make_mock(seed, sps, wider=1.0):
    """Model's redshift, obs and true vector."""
    rng = np.random.default_rng(seed)
    zred, snr = rng.uniform(1.0, 5.0), rng.uniform(5.0, 30.0)
    model = make_model(SpecModel, zred, wider)
    wave = np.geomspace(6e3, 5.3e4, NPIX)
    obs = {"wavelength": wave, "filters": load_filters(BANDS), "mask": np.ones(NPIX, dtype=bool)}
    obs |= {"spectrum": np.ones(NPIX), "unc": np.ones(NPIX)}
    obs |= {"maggies": np.ones(len(BANDS)), "maggies_unc": np.ones(len(BANDS))}
    truth = model.prior_transform(rng.random(model.ndim))
    spec, phot, _ = model.predict(truth, obs=fix_obs(dict(obs)), sps=sps)
    unc, phot_unc = np.maximum(spec, np.median(spec)) / snr, np.maximum(phot, phot.max() / 50) / 20
    obs |= {"spectrum": spec + unc * rng.standard_normal(NPIX), "unc": unc}
    obs |= {"maggies": phot + phot_unc * rng.standard_normal(phot.size), "maggies_unc": phot_unc}
    return zred, snr, obs, truth


def fit(kind, zred, obs, truth, sps, seed, nlive):
    """Ranks of the truth, means and dispersions of the posterior, reduced chi^2, seconds."""
    model = make_model(kind, zred)
    start = time.process_time()
    settings = {"nested_nlive_init": nlive, "nested_target_n_effective": 1000}
    output = fit_model(obs, model, sps, seed=seed, nested_max_runs=1, verbose=False, **settings)
    results, seconds = output["sampling"][0], time.process_time() - start
    weight = np.exp(results.logwt - results.logz[-1])
    weight /= weight.sum()
    mean = weight @ results.samples
    out = {
        "rank": [float(weight @ (s < t)) for s, t in zip(results.samples.T, truth, strict=True)],
        "mean": mean.tolist(), "std": np.sqrt(weight @ (results.samples - mean) ** 2).tolist(),
        "seconds": seconds, "calls": int(np.sum(results.ncall)), "chi2": None,
    }  # fmt: skip
    if obs.get("spectrum") is not None:
        best = results.samples[np.argmax(results.logl)][None]
        got = BatchedPosterior(model, obs, sps).spectrum(best)[0]
        out["chi2"] = float(np.mean(((got - obs["spectrum"]) / obs["unc"]) ** 2))
    return out


def run(case, seed, sps, nlive):
    """One fit of one mock."""
    zred, snr, obs, truth = make_mock(seed, sps, WIDER if case == "wider lines" else 1.0)
    kind = PolySpecModel
    if case == "photometry":
        kind, obs = SpecModel, obs | dict.fromkeys(("spectrum", "wavelength", "unc", "mask"))
    if case.startswith("tilted"):
        obs = obs | {"spectrum": obs["spectrum"] * np.linspace(0.975, 1.025, NPIX)}
        kind = SpecModel if case == "tilted, plain" else PolySpecModel
    record = {"case": case, "seed": seed, "zred": zred, "snr": snr, "truth": truth.tolist()}
    return record | fit(kind, zred, obs, truth, sps, seed, nlive)


def summary(path):
    """Print coverage, gain and what a tilt does."""
    records = [json.loads(line) for line in path.read_text().splitlines()]
    names = make_model(SpecModel, 2.0).theta_labels()
    of = {(r["case"], r["seed"]): r for r in records}
    for case in CASES:
        some = [r for r in records if r["case"] == case]
        if not some:
            continue
        rank = np.array([r["rank"] for r in some])
        off = np.array([(np.array(r["mean"]) - r["truth"]) / r["std"] for r in some])
        inside = [np.mean(np.abs(rank - 0.5) < 0.5 * p) for p in (0.68, 0.95)]
        chi2 = [r["chi2"] for r in some if r["chi2"] is not None]
        print(
            f"{case}: {len(some)} fits, inside 68 % {inside[0]:.2f}, 95 % {inside[1]:.2f}; "
            f"rms of (mean - truth) / sigma {np.sqrt(np.mean(off**2)):.2f}; "
            f"{np.median([r['seconds'] for r in some]):.0f} s and "
            f"{np.median([r['calls'] for r in some]):.0f} calls a fit"
            + (f"; chi^2 per pixel {np.median(chi2):.3f}, {max(chi2):.2f} at most" if chi2 else "")
        )
        for i, name in enumerate(names):
            near = [np.mean(np.abs(rank[:, i] - 0.5) < 0.5 * p) for p in (0.68, 0.95)]
            alone = [of.get(("photometry", r["seed"])) for r in some]
            ratio = [r["std"][i] / a["std"][i] for r, a in zip(some, alone, strict=True) if a]
            gain = f", sigma over that of photometry {np.median(ratio):.2f}" if ratio else ""
            print(
                f"    {name:18s} 68 % {near[0]:.2f}, 95 % {near[1]:.2f}, ranks uniform: "
                f"p = {kstest(rank[:, i], 'uniform').pvalue:.2f}{gain}"
            )


def main():
    """Run the fits that the file does not hold yet, then summarise."""
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("file", type=Path)
    p.add_argument("--mocks", type=int, default=50)
    p.add_argument("--nlive", type=int, default=200)
    args = p.parse_args()
    known = set()
    if args.file.exists():
        some = [json.loads(line) for line in args.file.read_text().splitlines()]
        known = {(r["case"], r["seed"]) for r in some}
    sps = EmulatorSPS()
    for case, step in CASES.items():
        for seed in range(0, args.mocks, step):
            if (case, seed) not in known:
                record = run(case, seed, sps, args.nlive)
                with args.file.open("a") as file:
                    file.write(json.dumps(record) + "\n")
    summary(args.file)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
