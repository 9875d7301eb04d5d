"""Posteriors of the redshift with two modes: found, and with the right odds?

    OMP_NUM_THREADS=1 python benchmarks/redshift_modes.py [--seeds 10] [--nlive 500] [--sed]

The first has a likelihood of two Gaussians in the redshift (and three parameters beside it) whose
odds are known, by the sampler of the fits. The second (``--sed``) is a galaxy in five bands whose
Lyman break may be a Balmer break: redshift, mass, age and dust are free, and p(z) is compared with
the integral over a grid of them all.
"""

import argparse

import numpy as np
from scipy.special import logsumexp

from prospect_emu.sampling.nested import run_nested
from prospect_emu.sampling.settings import NestedSettings

# Redshift, its width, width of the other parameters, and share of the posterior, of each mode.
MODES = ((0.8, 0.04, 0.08, 0.25), (4.6, 0.12, 0.05, 0.75))
ZMAX, CUT, NDIM = 12.0, 2.5, 4
BANDS = ["acs_wfc_f606w", "acs_wfc_f814w", "jwst_f115w", "jwst_f150w", "jwst_f277w"]
GRID = {"zred": (0.1, 8.0, 396), "tage_tuniv": (0.02, 1.0, 25), "dust2": (0.0, 2.0, 21)}
MASSES = (6.0, 12.0, 601)


def two_modes(v):
    """ln L (n,) of parameters (n, NDIM), the redshift first."""
    terms = []
    for zred, width, other, share in MODES:
        volume = width * other ** (NDIM - 1)
        r2 = ((v[:, 0] - zred) / width) ** 2 + (((v[:, 1:] - 0.5) / other) ** 2).sum(axis=1)
        terms.append(np.log(share / volume) - 0.5 * r2)
    return logsumexp(terms, axis=0)


def stretched(u):
    """Parameters of the unit cube: a uniform redshift, and the others as they are."""
    v = np.array(u, dtype=float)
    v[:, 0] *= ZMAX
    return v


def low_share(results):
    """Share of the posterior below the cut."""
    weights = results.importance_weights()
    return float(weights[results.samples[:, 0] < CUT].sum())


def analytic(seeds, nlive):
    """Share of the lower mode in runs that differ in their seed."""
    settings = NestedSettings.preset(
        "standard", nlive_init=nlive, max_runs=1, max_error=9.0, target_n_effective=1
    )
    return [
        low_share(run_nested(stretched, two_modes, NDIM, settings, seed=seed))
        for seed in range(seeds)
    ]


def galaxy():
    """Model, obs without fluxes, and `EmulatorSPS` of the galaxy."""
    from prospect.models import SpecModel, priors
    from prospect.models.templates import TemplateLibrary

    from prospect_emu import EmulatorSPS
    from prospect_emu.observe.filters import load_filters
    from prospect_emu.prospector.redshift_prior import describe_prior, redshift_prior
    from prospect_emu.prospector.templates import template_params

    prior = redshift_prior(describe_prior(f"uniform:{GRID['zred'][0]},{GRID['zred'][1]}"))
    params, _ = template_params("parametric_sfh+igm", zred_prior=prior)
    params |= {k: v for k, v in TemplateLibrary["nebular"].items() if k != "zred"}
    for name in ("logzsol", "tau"):
        params[name] |= {"isfree": False, "init": {"logzsol": -0.3, "tau": 1.0}[name]}
    params["mass"]["prior"] = priors.LogUniform(mini=10.0 ** MASSES[0], maxi=10.0 ** MASSES[1])
    params["dust2"]["prior"] = priors.TopHat(mini=GRID["dust2"][0], maxi=GRID["dust2"][1])
    params["tage_tuniv"]["prior"] = priors.TopHat(mini=0.02, maxi=1.0)
    filters = load_filters(BANDS)
    obs = {"filters": filters, "wavelength": None, "spectrum": None, "unc": None, "mask": None}
    return SpecModel(params), obs, EmulatorSPS()


def on_grid(model, obs, sps):
    """Fluxes (nz, nage, ndust, nband) of one solar mass, and the axes."""
    from prospect_emu import BatchedPosterior

    obs = obs | {"maggies": np.ones(len(BANDS)), "maggies_unc": np.ones(len(BANDS))}
    posterior = BatchedPosterior(model, obs, sps)
    # Midpoints: the sum over them is the integral.
    axes = {k: a + (b - a) * (np.arange(n) + 0.5) / n for k, (a, b, n) in GRID.items()}
    mesh = np.stack(np.meshgrid(*axes.values(), indexing="ij"), axis=-1)
    theta = np.empty((mesh[..., 0].size, model.ndim))
    theta[:, model.theta_index["mass"]] = 1.0
    for i, name in enumerate(axes):
        theta[:, model.theta_index[name]] = mesh[..., i].reshape(-1, 1)
    parts = np.array_split(theta, max(len(theta) // 2048, 1))
    return np.concatenate([posterior.maggies(p) for p in parts]).reshape(*mesh.shape[:3], -1), axes


def grid_posterior(fluxes, maggies, unc):
    """p(z) on the grid (nz,), summed over age, dust and mass."""
    mass = 10.0 ** np.linspace(*MASSES)
    out = np.empty(len(fluxes))
    for i, f in enumerate(fluxes.reshape(len(fluxes), -1, fluxes.shape[-1])):
        x, d = f / unc, maggies / unc
        # chi2 is a parabola in the mass.
        a, b = (x * x).sum(axis=1), x @ d
        out[i] = logsumexp(-0.5 * (a[:, None] * mass**2 - 2.0 * b[:, None] * mass))
    out = np.exp(out - out.max())
    return out / out.sum()


def sed(seeds, nlive):
    """p(z) of the galaxy by grid and by fits."""
    from prospect_emu import fit_model

    model, obs, sps = galaxy()
    fluxes, axes = on_grid(model, obs, sps)
    # A galaxy at redshift 4 of 10^9.3 Msun, with errors that leave both breaks possible.
    i, j, k = (np.argmin(np.abs(axes[n] - v)) for n, v in
               (("zred", 4.0), ("tage_tuniv", 0.5), ("dust2", 0.2)))  # fmt: skip
    true = 10.0**9.3 * fluxes[i, j, k]
    unc = np.hypot(0.1 * true, 0.07 * true.max())
    density = grid_posterior(fluxes, true, unc)
    cumulative = np.cumsum(density)
    share = density[axes["zred"] < CUT].sum()
    print(f"grid: {share:.3f} of the posterior below z = {CUT}")
    obs |= {"maggies": true, "maggies_unc": unc}
    edge = axes["zred"] + 0.5 * (axes["zred"][1] - axes["zred"][0])
    for seed in range(seeds):
        output = fit_model(
            obs, model, sps, seed=seed, nested_nlive_init=nlive, nested_target_n_effective=1,
            nested_max_runs=1, nested_max_error=9.0, progress=False,
        )  # fmt: skip
        results = output["sampling"][0]
        weights = np.exp(results["logwt"] - results["logz"][-1])
        zred = results["samples"][:, model.theta_index["zred"].start]
        order = np.argsort(zred)
        found = np.interp(edge, zred[order], np.cumsum(weights[order]))
        low = weights[zred < CUT].sum()
        worst = np.abs(found - cumulative).max()
        print(
            f"seed {seed}: {low:.3f} below, distributions differ by {worst:.3f} at most, "
            f"{np.sum(results['ncall'])} calls",
            flush=True,
        )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--nlive", type=int, default=500)
    parser.add_argument("--sed", action="store_true")
    given = parser.parse_args()
    if given.sed:
        sed(given.seeds, given.nlive)
    else:
        found = analytic(given.seeds, given.nlive)
        print(
            f"nlive {given.nlive}: the lower mode has {np.round(found, 3)} of the posterior, "
            f"{np.mean(found):.3f} +- {np.std(found, ddof=1) / np.sqrt(len(found)):.3f} in the "
            f"mean, {MODES[0][3]} in truth"
        )
