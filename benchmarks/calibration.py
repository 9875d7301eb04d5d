"""Simulation-based calibration: are the posteriors of mock galaxies as wide as they should be?

    OMP_NUM_THREADS=1 python benchmarks/calibration.py EMULATOR OUT [--mocks 200]
    python benchmarks/calibration.py EMULATOR OUT --mocks 0 --figure docs/images/calibration.png

Each mock is drawn from the fit priors (redshift uniform in 0.5-3 and then held fixed,
log mass between 10 and 12), with the depth of 3D-HST in its 45 bands.
Over many mocks the true value's rank in its posterior must be uniform.

The errors are those of a catalog fit: sky noise and a floor of 5 % of the true flux in
quadrature. The likelihood takes them as known numbers and does not read the flux back from
them, as no fit of a catalog does. The floor is of the true flux, not of the
observed: that one would weight downward fluctuations up.

One file per mock in OUT; a second call makes what is missing.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

MASS = (10.0, 12.0)
FLOOR = 0.05
BINS = 10


def priors(zred):
    """Model parameters of mocks and fits alike."""
    from prospect_emu.prospector.mathews23 import model_params

    params = model_params(zred=zred)
    params["massmet"]["prior"].update(mass_mini=MASS[0], mass_maxi=MASS[1])
    return params


def make_mock(emulator, seed, exact=None):
    """obs, model and sps of a mock, its true parameters, and its redshift.

    Fluxes are the emulator's own, and no emulator error is added; with `exact`
    (vectors -> fluxes) they are exact, and it is.
    """
    from fit_speed import BANDS

    from prospect_emu import EmulatorSpecModel, EmulatorSPS
    from prospect_emu.fits.mocks import sky_noise
    from prospect_emu.networks.vector import BOX
    from prospect_emu.observe.filters import load_filters

    rng = np.random.default_rng([7, seed])
    filters = load_filters(BANDS)
    sps = EmulatorSPS(emulator, filters)
    zred = float(rng.uniform(*BOX["zred"]))
    model = EmulatorSpecModel(priors(zred))
    true = model.prior_transform(rng.random(model.ndim))

    def vector(theta):
        model.set_parameters(theta)
        return sps.theta_from_params(model.params)[None]

    flux = (exact or sps.emulator.maggies)(vector(true))[0]
    sky = np.array([sky_noise(b) for b in BANDS]) / 3631e6
    unc = np.hypot(sky, FLOOR * flux)
    flux = flux + unc * rng.standard_normal(unc.size)
    obs = {"filters": filters, "maggies": flux, "maggies_unc": unc, "wavelength": None,
           "spectrum": None}  # fmt: skip
    if exact is not None:
        obs = sps.inflate(obs)
    else:
        obs |= {"emulator": sps.emulator.name, "maggies_unc_observed": unc}
    return obs, model, sps, true, zred


def fit_mock(emulator, seed, nlive, walks, exact=None):
    """The rank of each true parameter among the posterior's weights, and how the fit went."""
    from prospect_emu.fit.fitting import fit_model

    obs, model, sps, true, zred = make_mock(emulator, seed, exact)
    results, seconds = fit_model(
        obs, model, sps, seed=seed, verbose=False, nested_nlive_init=nlive, nested_walks=walks,
        nested_target_n_effective=1, nested_dlogz_init=0.05,
    )["sampling"]  # fmt: skip
    weights = results.importance_weights()
    d = results.diagnostics
    return {
        "seed": seed,
        "zred": zred,
        "parameters": list(model.theta_labels()),
        "true": true.tolist(),
        "rank": (weights @ (results.samples < true)).tolist(),
        "signal_to_noise": float(np.median(obs["maggies"] / obs["maggies_unc"])),
        "seconds": seconds,
        **{k: d[k] for k in ("status", "n_call", "n_effective")},
    }


def report(found, settings):
    """Table of rank histograms and coverage."""
    from scipy.stats import binom, chisquare

    ranks = np.array([m["rank"] for m in found])
    n = len(ranks)
    print(f"{n} mocks, {settings}")
    print(
        f"median S/N {np.median([m['signal_to_noise'] for m in found]):.1f}, "
        f"{np.mean([m['seconds'] for m in found]):.1f} s and "
        f"{np.mean([m['n_call'] for m in found]) / 1e3:.0f}k calls per fit"
    )
    expected = [binom.std(n, p) / n for p in (0.68, 0.95)]
    print(f"coverage is expected to scatter by {expected[0]:.3f} and {expected[1]:.3f}\n")
    print(f"{'parameter':20s}{'mean rank':>10s}{'chi2 p':>8s}{'68 %':>8s}{'95 %':>8s}")
    for j, name in enumerate(found[0]["parameters"]):
        counts = np.histogram(ranks[:, j], bins=BINS, range=(0, 1))[0]
        inside = [np.mean(np.abs(ranks[:, j] - 0.5) < half / 2) for half in (0.68, 0.95)]
        print(
            f"{name:20s}{ranks[:, j].mean():10.3f}{chisquare(counts).pvalue:8.3f}"
            f"{inside[0]:8.3f}{inside[1]:8.3f}"
        )
    both = [np.mean(np.abs(ranks - 0.5) < half / 2) for half in (0.68, 0.95)]
    print(f"{'all together':38s}{both[0]:8.3f}{both[1]:8.3f}")


def figure(found, path):
    """Rank histograms with the 99 % range of a uniform one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from scipy.stats import binom

    ranks = np.array([m["rank"] for m in found])
    names = found[0]["parameters"]
    fig, axes = plt.subplots(3, 6, figsize=(14, 6), sharex=True, sharey=True)
    for ax in axes.flat[len(names) :]:
        ax.set_axis_off()
    lo, hi = binom.ppf([0.005, 0.995], len(ranks), 1 / BINS)
    for ax, name, column in zip(axes.flat, names, ranks.T, strict=False):
        ax.axhspan(lo, hi, color="0.9")
        ax.hist(column, bins=BINS, range=(0, 1), histtype="step", color="C0")
        ax.set_title(name, fontsize=9)
    fig.supxlabel(f"rank of the true value in its posterior, {len(ranks)} mock galaxies")
    fig.tight_layout()
    fig.savefig(path, dpi=110)


def main():
    from prospect_emu.sampling.nested import NestedSettings

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("emulator", help="bundled name or file")
    parser.add_argument("out", type=Path, help="folder of results")
    parser.add_argument("--mocks", type=int, default=200)
    parser.add_argument("--nlive", type=int, default=NestedSettings().nlive_init)
    parser.add_argument("--walks", type=int, default=NestedSettings().walks)
    parser.add_argument("--tables", help="ExactSPS tables: exact fluxes, and the emulator's error")
    parser.add_argument("--figure", help="write the rank histograms here")
    args = parser.parse_args()

    from prospect_emu.files import write_atomic
    from prospect_emu.networks.loading import load_emulator

    emulator, exact = load_emulator(args.emulator), None
    if args.tables:
        from fit_speed import BANDS

        from prospect_emu.training.engines import exact_engine

        exact = exact_engine(emulator.select(BANDS), args.tables)[1]
    settings = {
        "emulator": emulator.name, "sha256": emulator.manifest["sha256"], "nlive": args.nlive,
        "walks": args.walks, "fluxes": "exact" if exact else "emulator",
    }  # fmt: skip
    args.out.mkdir(parents=True, exist_ok=True)
    settings_file = args.out / "settings.json"
    if settings_file.exists() and json.loads(settings_file.read_text()) != settings:
        parser.error(f"{args.out} holds mocks with other settings; choose another folder")
    write_atomic(settings_file, json.dumps(settings, indent=1).encode())
    for seed in range(args.mocks):
        path = args.out / f"mock-{seed:04d}.json"
        if path.exists():
            continue
        start = time.perf_counter()
        found = fit_mock(emulator, seed, args.nlive, args.walks, exact)
        write_atomic(path, json.dumps(found, indent=1).encode())
        print(
            f"mock {seed}: {time.perf_counter() - start:.1f} s, {found['n_call']} calls", flush=True
        )
    found = [json.loads(p.read_text()) for p in sorted(args.out.glob("mock-*.json"))]
    report(found, settings)
    if args.figure:
        figure(found, args.figure)


if __name__ == "__main__":
    main()
