"""Simulation-based calibration: are the posteriors of mock galaxies as wide as they should be?

    OMP_NUM_THREADS=1 python benchmarks/rank_calibration.py EMULATOR OUT [--mocks 200]
        [--preset standard] [--floor 0.05] [--bands 13] [nested_walks=25 ...]
    python benchmarks/rank_calibration.py EMULATOR OUT --mocks 0 --figure OUT.png

Each mock is drawn from the fit priors (redshift uniform in 0.5-3 and then held fixed,
log mass between 10 and 12), with the depth of 3D-HST in its 45 bands, and fitted as
`prospect_emu.fit_model` does with the preset.
Over many mocks the true value's rank in its posterior must be uniform, that of free parameters
and of what follows from them.

The errors are those of a catalog fit: sky noise and a floor of the true flux in
quadrature. The likelihood takes them as known numbers and does not read the flux back from
them, as no fit of a catalog does. The floor is of the true flux, not of the
observed: that one would weight downward fluctuations up.

One file per mock in OUT; a second call makes what is missing.
"""

import argparse
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np

MASS = (10.0, 12.0)
FLOOR = 0.05
BINS = 10
# `--bands 13`.
BROAD = """
cfht_megacam_us_9301 cfht_megacam_gs_9401 cfht_megacam_rs_9601 cfht_megacam_is_9701
cfht_megacam_zs_9801 vista_vircam_Y wfc3_ir_f125w wfc3_ir_f160w vista_vircam_Ks spitzer_irac_ch1
spitzer_irac_ch2 spitzer_irac_ch3 spitzer_irac_ch4
""".split()
DERIVED = ("log_stellar_mass", "log_sfr_100", "mass_weighted_age")


def priors(zred):
    """Model parameters of mocks and fits alike."""
    from prospect_emu.prospector.mathews23 import model_params

    params = model_params(zred=zred)
    params["massmet"]["prior"].update(mass_mini=MASS[0], mass_maxi=MASS[1])
    return params


def make_mock(emulator, seed, exact=None, floor=FLOOR, bands=None):
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
    bands = bands or BANDS
    filters = load_filters(bands)
    sps = EmulatorSPS(emulator, filters)
    zred = float(rng.uniform(*BOX["zred"]))
    model = EmulatorSpecModel(priors(zred))
    true = model.prior_transform(rng.random(model.ndim))

    def vector(theta):
        model.set_parameters(theta)
        return sps.theta_from_params(model.params)[None]

    flux = (exact or sps.emulator.maggies)(vector(true))[0]
    sky = np.array([sky_noise(b) for b in bands]) / 3631e6
    unc = np.hypot(sky, floor * flux)
    flux = flux + unc * rng.standard_normal(unc.size)
    obs = {"filters": filters, "maggies": flux, "maggies_unc": unc, "wavelength": None,
           "spectrum": None}  # fmt: skip
    if exact is not None:
        obs = sps.inflate(obs)
    else:
        obs |= {"emulator": sps.emulator.name, "maggies_unc_observed": unc}
    return obs, model, sps, true, zred


def fit_mock(emulator, seed, settings, exact=None, **mock):
    """The rank of each true value among the posterior's weights, and how the fit went."""
    from prospect_emu.fit.fitting import fit_model
    from prospect_emu.fit.posterior import BatchedPosterior

    obs, model, sps, true, zred = make_mock(emulator, seed, exact, **mock)
    start = time.process_time()
    results, _ = fit_model(obs, model, sps, seed=seed, verbose=False, **settings)["sampling"]
    seconds = time.process_time() - start
    quantities = BatchedPosterior(model, obs, sps).predictions.quantities
    weights = results.importance_weights()
    values, known = (
        np.column_stack([theta, *(quantities(theta)[1][name] for name in DERIVED)])
        for theta in (results.samples, true[None])
    )
    d = results.diagnostics
    return {
        "seed": seed,
        "zred": zred,
        "parameters": [*model.theta_labels(), *DERIVED],
        "true": known[0].tolist(),
        "rank": (weights @ (values < known)).tolist(),
        "signal_to_noise": float(np.median(obs["maggies"] / obs["maggies_unc"])),
        "cpu_seconds": seconds,
        "stated": max(d.get("mean_error", [np.nan])),
        **{k: d[k] for k in ("status", "n_call", "n_evaluations", "n_effective", "n_runs")},
    }


def report(found, settings):
    """Table of rank histograms and coverage."""
    from scipy.stats import chisquare

    ranks = np.array([m["rank"] for m in found])
    cpu, evaluations, runs = (
        np.array([m[k] for m in found]) for k in ("cpu_seconds", "n_evaluations", "n_runs")
    )
    counts = Counter(m["status"].split(":")[0] for m in found)
    print(f"{len(ranks)} mocks, {settings}")
    print(
        f"median S/N {np.median([m['signal_to_noise'] for m in found]):.1f}; CPU s median "
        f"{np.median(cpu):.1f}, mean {cpu.mean():.1f}; million likelihoods median "
        f"{np.median(evaluations) / 1e6:.2f}, mean {evaluations.mean() / 1e6:.2f}; "
        f"{np.mean(runs > 1):.0%} repeated; status {dict(counts)}\n"
    )
    print(f"{'parameter':20s}{'mean rank':>10s}{'chi2 p':>8s}{'68 %':>8s}{'95 %':>8s}")
    for name, column in zip(found[0]["parameters"], ranks.T, strict=True):
        counts = np.histogram(column, bins=BINS, range=(0, 1))[0]
        inside = [_holds(column, level).mean() for level in (0.68, 0.95)]
        print(
            f"{name:20s}{column.mean():10.3f}{chisquare(counts).pvalue:8.3f}"
            f"{inside[0]:8.3f}{inside[1]:8.3f}"
        )
    free = ranks[:, : -len(DERIVED)]
    print("free parameters together, +- standard error over mocks")
    for level in (0.68, 0.95):
        each = _holds(free, level).mean(axis=1)
        print(f"  {level:.0%} holds {each.mean():.3f} +- {each.std() / np.sqrt(len(each)):.3f}")


def _holds(ranks, level):
    """Whether central intervals hold the true values of these ranks."""
    return np.abs(ranks - 0.5) < 0.5 * level


def parse_settings(texts):
    """Settings of `fit_model` from NAME=VALUE."""
    pairs = (text.split("=", 1) for text in texts)
    return {name: value if value.isalpha() else json.loads(value) for name, value in pairs}


def figure(found, path):
    """Rank histograms with the 99 % range of a uniform one."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from scipy.stats import binom

    ranks = np.array([m["rank"] for m in found])
    names = found[0]["parameters"]
    fig, axes = plt.subplots(4, 5, figsize=(12, 8), sharex=True, sharey=True)
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
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("emulator", help="bundled name or file")
    parser.add_argument("out", type=Path, help="folder of results")
    parser.add_argument("--mocks", type=int, default=200)
    parser.add_argument("settings", nargs="*", help="nested_NAME=VALUE")
    parser.add_argument("--preset", default="standard")
    parser.add_argument("--floor", type=float, default=FLOOR, help="error of all fluxes at least")
    parser.add_argument("--bands", nargs="+", help="names; 13 for that many broad ones")
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
    fit = {"preset": args.preset, **parse_settings(args.settings)}
    mock = {"floor": args.floor, "bands": BROAD if args.bands == ["13"] else args.bands}
    settings = {
        "emulator": emulator.name, "sha256": emulator.manifest["sha256"], **fit, **mock,
        "fluxes": "exact" if exact else "emulator",
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
        found = fit_mock(emulator, seed, fit, exact, **mock)
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
