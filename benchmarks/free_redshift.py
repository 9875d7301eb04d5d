"""Free redshift: time per vector beside whole spectra and a fixed redshift, and a fit.

    OMP_NUM_THREADS=1 python benchmarks/free_redshift.py [--fit] [--nlive 500] [--fsps 150]

All in one run, so that a busy machine slows all alike; times are of the processor. Bands of HST
and JWST as UNCOVER has them (27) and from the ultraviolet to the far infrared (12); the model has
step bins up to the age of the universe at each row's redshift, which is uniform in ln(1 + z) from
0.01 to 15, dust emission and an AGN.
"""

import argparse
import time

import numpy as np

from prospect_emu.cosmology import age_of_universe
from prospect_emu.observe.filters import load_filters
from prospect_emu.sps.fold import compile_sps, relative_error
from prospect_emu.sps.ingredients import find_ingredients

JWST = [f"jwst_f{k}" for k in (
    "070w", "090w", "115w", "140m", "150w", "162m", "182m", "200w", "210m", "250m", "277w",
    "300m", "335m", "356w", "360m", "410m", "430m", "444w", "460m", "480m",
)]  # fmt: skip
HST = ["acs_wfc_f435w", "acs_wfc_f606w", "acs_wfc_f814w"]
HST += [f"wfc3_ir_f{k}w" for k in (105, 125, 140, 160)]
WIDE = [
    "galex_FUV", "galex_NUV", "sdss_u0", "acs_wfc_f606w", "sdss_z0", "wfc3_ir_f160w",
    "twomass_Ks", "spitzer_irac_ch1", "spitzer_irac_ch4", "spitzer_mips_24",
    "herschel_pacs_100", "herschel_spire_500",
]  # fmt: skip
FIXED = {"add_neb_emission": True, "add_igm_absorption": True, "dust_type": 4, "imf_type": 2}
FREE = (
    "mass", "agebins", "logzsol", "dust1", "dust2", "dust_index", "gas_logz", "fagn", "agn_tau",
    "duste_qpah", "duste_umin", "duste_gamma",
)  # fmt: skip
FAINTEST = 31.0
RANGES = {"dust1": (0.0, 4.0), "dust2": (0.0, 4.0), "dust_index": (-1.2, 0.4), "zred": (0.01, 15.0)}


def seconds(call, repeat=30):
    """Shortest processor time of a call."""
    spent = []
    for _ in range(repeat):
        start = time.process_time()
        call()
        spent.append(time.process_time() - start)
    return min(spent)


def rows(compiled, n, seed=0):
    """Draws of the free parameters, with redshifts and age bins as above."""
    p = compiled.draw(n, seed)
    low, high = np.log1p(RANGES["zred"])
    p["zred"] = np.expm1(np.random.default_rng(seed).uniform(low, high, n))
    edges = np.linspace(7.0, np.log10(age_of_universe(p["zred"])), p["mass"].shape[1]).T
    edges = np.concatenate([np.zeros((n, 1)), edges], axis=1)
    return p | {"agebins": np.stack([edges[:, :-1], edges[:, 1:]], axis=-1)}


def vectors(names, batch=256):
    """Print microseconds per vector and errors in some bands."""
    filters, g = load_filters(names), find_ingredients(imf_type=2)
    start = time.process_time()
    free = compile_sps(g, filters, FIXED, (*FREE, "zred"), RANGES, quadrature="sedpy")
    made = time.process_time() - start
    at_one = {k: v for k, v in RANGES.items() if k != "zred"}
    one = compile_sps(g, filters, FIXED | {"zred": 2.0}, FREE, at_one, quadrature="sedpy")
    p, q = rows(free, batch), one.draw(batch)
    more = rows(free, 4 * batch, seed=1)
    exact = free.direct(more)
    off = 2.5 / np.log(10.0) * relative_error(free.maggies(more), exact)
    off = off[exact > 10.0 ** (-0.4 * FAINTEST)]
    us = 1e6 / batch
    print(
        f"{len(names)} bands: free {us * seconds(lambda: free.maggies(p)):.0f} us, fixed "
        f"{us * seconds(lambda: one.maggies(q)):.0f} us, whole spectra "
        f"{us * seconds(lambda: free.direct(p), 1):.0f} us; made in {made:.1f} s; off by "
        f"{off.max():.1e} mag at most, {np.quantile(off, 0.999):.1e} in 99.9 % of {off.size} bands "
        f"brighter than AB {FAINTEST:g}, {np.median(off):.1e} in the median"
    )


def fit(nlive):
    """Time of a fit of Prospector's parametric template with free redshift."""
    from prospect.models import SpecModel, priors
    from prospect.models.templates import TemplateLibrary

    from prospect_emu import BatchedPosterior, EmulatorSPS, fit_model

    params = TemplateLibrary["parametric_sfh"] | TemplateLibrary["nebular"]
    params["zred"] |= {"isfree": True, "init": 1.3, "prior": priors.TopHat(mini=0.1, maxi=6.0)}
    model, filters = SpecModel(params), load_filters(HST + JWST)
    obs = {"filters": filters, "wavelength": None, "spectrum": None, "unc": None, "mask": None}
    obs |= {"maggies": np.ones(len(filters)), "maggies_unc": np.ones(len(filters))}
    sps = EmulatorSPS()
    truth = BatchedPosterior(model, obs, sps).maggies(model.theta[None])[0]
    obs |= {"maggies": truth, "maggies_unc": 0.05 * truth}
    start = time.perf_counter()
    output = fit_model(
        obs, model, sps, nested_nlive_init=nlive, nested_walks=100, nested_dlogz_init=0.05
    )
    spent = time.perf_counter() - start
    result = output["sampling"][0]
    weight = np.exp(result["logwt"] - result["logz"][-1])
    at = model.theta_index["zred"].start
    mean = np.average(result["samples"][:, at], weights=weight)
    print(
        f"fit: nlive {nlive}, {model.ndim} free, {np.sum(result['ncall'])} calls, {spent:.0f} s; "
        f"zred {mean:.2f}, true 1.30"
    )


def against_fsps(n, seed=0):
    """Print how far the model ``uncover`` is from FSPS in Prospector, at redshifts of any kind.

    Half of the rows have the prior's history and dust, half are even over its whole box. Of the
    metallicities those between two neighbouring nodes: FSPS takes ten seconds for each.
    """
    from prospect.sources import FastStepBasis

    from prospect_emu import BatchedPosterior, EmulatorSPS
    from prospect_emu.prospector.templates import template_model

    model, _ = template_model("uncover", zred_prior="model")
    filters, g = load_filters(HST + JWST), find_ingredients(imf_type=1)
    ones = np.ones(len(filters))
    obs = {"filters": filters, "maggies": ones, "maggies_unc": ones, "wavelength": None}
    obs |= {"spectrum": None, "unc": None, "mask": None}
    posterior, rng = BatchedPosterior(model, obs, EmulatorSPS()), np.random.default_rng(seed)
    theta = posterior.prior_transform(rng.random((n, model.ndim)))
    ends = np.repeat([[1e-6], [1.0 - 1e-6]], model.ndim, axis=1)
    low, high = posterior.prior_transform(ends)
    even = low + rng.random((n, model.ndim)) * (high - low)
    even[:, 3:9] = rng.uniform(-3.0, 3.0, (n, 6))
    theta[1::2] = even[1::2]
    theta[:, 0] = np.expm1(rng.uniform(*np.log1p(RANGES["zred"]), n))
    theta[:, 1] = rng.uniform(8.0, 12.0, n)
    cell = int(rng.integers(2, g.logz.size - 2))
    theta[:, 2] = rng.uniform(g.logz[cell], g.logz[cell + 1], n)
    found, sps = posterior.maggies(theta), FastStepBasis(zcontinuous=1)
    off = []
    for i, (row, flux) in enumerate(zip(theta, found, strict=True)):
        want = model.predict(row, obs=obs, sps=sps)[1]
        bright = want > 10.0 ** (-0.4 * FAINTEST)
        off.append(np.abs(2.5 * np.log10(flux[bright] / want[bright])))
        if i % 10 == 9 or i == n - 1:
            every = np.concatenate(off)
            print(
                f"{i + 1} spectra of FSPS, logzsol {g.logz[cell]:.2f} to {g.logz[cell + 1]:.2f}: "
                f"{every.size} bands brighter than AB {FAINTEST:g} off by {every.max():.1e} mag at "
                f"most, {np.quantile(every, 0.999):.1e} in 99.9 %, {np.median(every):.1e} in the "
                "median",
                flush=True,
            )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--fit", action="store_true")
    parser.add_argument("--nlive", type=int, default=500)
    parser.add_argument("--fsps", type=int, default=0, metavar="N", help="compare with FSPS alone")
    given = parser.parse_args()
    if given.fsps:
        against_fsps(given.fsps)
        raise SystemExit
    for some in (HST + JWST, WIDE):
        vectors(some)
    if given.fit:
        fit(given.nlive)
