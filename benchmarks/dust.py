"""Measures the dust engine and the bundled dust emulator; `docs/dust.md` quotes what it prints.

    python benchmarks/dust.py engine    --dust ../shared/dust/themis --field NPZ
    python benchmarks/dust.py coverage  --test DIR [--mocks 300]
    python benchmarks/dust.py inverse   --test DIR
    python benchmarks/dust.py galaxy    --dust ../shared/dust/themis --tables tables.safetensors

The accuracy table of the emulator itself is `prospect-emu train dust report`.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np

from prospect_emu.dust.dust_emulator import load_dust_emulator
from prospect_emu.dust.dust_inverse import best_fit, observe, posterior
from prospect_emu.dust.dust_network import estimate

# Ten bands of common nearby-galaxy surveys.
TEN = (
    "spitzer_irac_ch4", "wise_w3", "spitzer_mips_24", "herschel_pacs_70", "herschel_pacs_100",
    "herschel_pacs_160", "herschel_spire_250", "herschel_spire_350", "herschel_spire_500",
    "scuba2_850",
)  # fmt: skip


def _test_set(folder, n, seed=0):
    from prospect_emu.training.themis.dust_grid import DustStore

    theta, ln = DustStore.open(folder).load()
    rows = np.random.default_rng(seed).permutation(len(theta))[:n]
    return theta[rows], ln[rows].astype(float)


def _bands(emulator, ln, filters):
    """Engine photometry (n, nband) of ln spectra."""
    from prospect_emu.training.themis.dust_bands import bands_for, ln_bands

    matrix, _ = bands_for(emulator.wavelengths, filters)
    return np.exp(ln_bands(ln, matrix))


def engine(args):
    """Convergence, energy closure and the cost of a radiation field."""
    from prospect_emu.training.themis.dust_data import read_dust_model, read_field
    from prospect_emu.training.themis.dust_engine import DustEngine, Resolution
    from prospect_emu.training.themis.dust_fields import C_MICRON, from_table, power

    model = read_dust_model(args.dust)
    mathis = from_table(model.wave, *read_field(args.dust / "ISRF_MATHIS.DAT"))
    wave = model.wave[(model.wave >= 1.0) & (model.wave <= 1300.0)]
    default = Resolution()
    finer = {
        "half the size steps": dataclasses.replace(
            default, small=default.small / 2, large=default.large / 2
        ),
        "2.5 x the energies": dataclasses.replace(
            default, n_wide=600, n_core=375, per_photon=15.0, n_most=2000, narrow=0.01
        ),
    }
    fields = np.array([u * mathis for u in (0.1, 1.0, 10.0, 80.0, 1e3, 1e5)])
    a_min = np.array([0.4, 1.0, 3.0, 10.0]) * 1e-7
    coarse = DustEngine(model, wave, default)
    coarse.grains(fields[:1])
    began = time.process_time()
    base = coarse.emission(fields, a_min)
    print(f"{(time.process_time() - began) / len(fields):.3f} CPU s per field, "
          f"{coarse.radius.size} grains")  # fmt: skip
    for name, resolution in finer.items():
        ref = DustEngine(model, wave, resolution).emission(fields, a_min)
        seen = ref > 1e-4 * ref.max(axis=-1, keepdims=True)
        change = np.abs(base / ref - 1.0)[seen]
        numbers = 100.0 * np.array([np.median(change), np.quantile(change, 0.99), change.max()])
        print("{}: median {:.3f} %, 99 % under {:.2f} %, at most {:.2f} %".format(name, *numbers))
    full = DustEngine(model, np.geomspace(0.3, 9e4, 4000))
    for u, field in zip((0.1, 1, 10, 80, 1e3, 1e5), fields, strict=True):
        closure: list = []
        grains = full.grains(field, closure)[0]
        lnu = full.size_weights()[0] @ grains
        emitted = np.trapezoid(lnu * C_MICRON / full.wave, np.log(full.wave))
        absorbed = full.absorbed(field)[0, 0]
        print(f"U {u:g}: {emitted / u:.4e} erg/s/H per U, emitted/absorbed - 1 = "
              f"{emitted / absorbed - 1:.1e}, grains' closure {closure[0].min():.4f}-"
              f"{closure[0].max():.4f}")  # fmt: skip
    print(f"Mathis power {power(model.wave, mathis):.4e} erg/s/cm2")


class GridPosterior:
    """The posterior of some bands on a dense grid: as good as sampling for broad posteriors."""

    def __init__(self, emulator, bands, shape=(361, 41, 71)):
        self.emulator = emulator.select(bands)
        self.axes = [np.linspace(*b, n) for b, n in zip(emulator.bounds, shape, strict=True)]
        nodes = np.stack(np.meshgrid(*self.axes, indexing="ij"), axis=-1).reshape(-1, 3)
        self.model = np.exp(self.emulator.ln_photometry(nodes)).astype("f4")
        self.shape = shape

    def ranks(self, values, errors, truth):
        """Posterior probability below the true value of each parameter, (3,)."""
        obs = observe(self.emulator, values, errors, self.emulator.band_names)
        z = (self.model - obs.values.astype("f4")) / obs.errors.astype("f4")
        chi2 = np.einsum("ij,ij->i", z, z)
        mass = np.exp(-0.5 * (chi2 - chi2.min())).reshape(self.shape)
        out = []
        for i, axis in enumerate(self.axes):
            p = mass.sum(axis=tuple(k for k in range(3) if k != i))
            cdf = np.concatenate([[0.0], np.cumsum(0.5 * (p[1:] + p[:-1]))])
            out.append(np.interp(truth[i], axis, cdf / cdf[-1]))
        return out


def coverage(args):
    """Share of true values inside 68 and 95 % intervals: 10 bands with 10 % noise.

    The posterior on a grid for all mocks; by nested sampling for a few, as a check of it.
    """
    emulator = load_dust_emulator(args.emulator)
    theta, ln = _test_set(args.test, args.mocks, seed=1)
    truth = _bands(emulator, ln, args.filters)[:, emulator.band_index(TEN)]
    rng = np.random.default_rng(2)
    sigma = 0.1 * truth
    noisy = truth + sigma * rng.standard_normal(truth.shape)
    grid = GridPosterior(emulator, TEN)
    ranks = [grid.ranks(v, s, t) for v, s, t in zip(noisy, sigma, theta, strict=True)]
    mean, width = estimate(emulator, noisy, sigma, TEN)
    net = np.abs((theta - mean) / width)
    inside = np.abs(np.array(ranks) - 0.5)
    for i, name in enumerate(emulator.parameters):
        share = [100.0 * (inside[:, i] < half).mean() for half in (0.3413, 0.475)]
        share += [100.0 * (net[:, i] < z).mean() for z in (1.0, 1.96)]
        print(
            "{:6s} posterior {:.1f} and {:.1f} %, network {:.1f} and {:.1f} %".format(name, *share)
        )
    _networks(emulator, theta, ln, args.filters, rng)
    print(f"{len(theta)} mocks")
    seconds, difference = [], []
    for k in range(min(args.nested, len(theta))):
        began = time.process_time()
        obs = observe(emulator, noisy[k], sigma[k], TEN)
        result = posterior(obs, seed=k)
        seconds.append(time.process_time() - began)
        difference.append((result.samples < theta[k]).mean(axis=0) - ranks[k])
    if seconds:
        print(f"nested sampling: {np.mean(seconds):.2f} CPU s each; ranks off the grid's by "
              f"{np.std(difference):.3f} rms")  # fmt: skip


def _print_network(emulator, data, where, theta, title):
    mean, width = estimate(emulator, *data, **where)
    off = np.abs(mean - theta)
    print(f"network, {title}: median |dlog| U, tau, a_min = "
          + ", ".join(f"{v:.3f}" for v in np.nanmedian(off, axis=0)) + "; inside 68, 95 %: "
          + ", ".join("{:.0f}, {:.0f}".format(*(100.0 * (o < z).mean() for z in (1.0, 1.96)))
                      for o in (off / width).T)
          + f"; not answered {np.isnan(mean[:, 0]).sum()}")  # fmt: skip


def _networks(emulator, theta, ln, filters, rng):
    """The inverse networks on data as they come: few bands and many, uneven errors, sampling."""
    flux = _bands(emulator, ln, filters)
    brightest = flux.max(axis=1, keepdims=True)
    herschel = tuple(n for n in emulator.band_names if n.startswith("herschel"))
    cases = [
        ("ten bands, 10 %", TEN, 0.1 * flux),
        ("ten bands, 25 %", TEN, 0.25 * flux),
        ("all bands, 10 %", emulator.band_names, 0.1 * flux),
        ("all bands, 3 % and 0.1 % of the brightest", emulator.band_names,
         np.hypot(0.03 * flux, 1e-3 * brightest)),
        ("all bands, each 0.3 to 25 %", emulator.band_names,
         flux * np.exp(rng.uniform(*np.log([0.003, 0.25]), flux.shape))),
        ("Herschel's bands, 10 %", herschel, 0.1 * flux),
    ]  # fmt: skip
    for title, names, sigma in cases:
        noisy = flux + sigma * rng.standard_normal(flux.shape)
        i = emulator.band_index(names)
        _print_network(emulator, (noisy[:, i], sigma[:, i]), {"bands": names}, theta, title)
    x = np.log(emulator.wavelengths)
    for lo, hi, step, level, sky in (
        (1.0, 1200.0, 0.01, 0.1, 0.0), (1.0, 1200.0, 0.005, 0.03, 1e-3),
        (5.0, 38.0, 0.01, 0.1, 0.0), (5.0, 38.0, 0.01, 0.03, 0.01), (50.0, 600.0, 0.01, 0.1, 0.0),
    ):  # fmt: skip
        wave = np.exp(np.arange(np.log(lo), np.log(hi), step))
        true = np.exp([np.interp(np.log(wave), x, row) for row in ln])
        sigma = np.hypot(level * true, sky * true.max(axis=1, keepdims=True))
        noisy = true + sigma * rng.standard_normal(true.shape)
        title = f"spectra of {100 * level:g} %, {lo:g}-{hi:g} micron, R = {1 / step:g}"
        title += f", and {100 * sky:g} % of the brightest" if sky else ""
        _print_network(emulator, (noisy, sigma), {"wavelengths": wave}, theta, title)


def inverse(args):
    """Noise-free spectra and bands of the engine, inverted by least squares."""
    emulator = load_dust_emulator(args.emulator)
    theta, ln = _test_set(args.test, args.mocks, seed=3)
    flux = _bands(emulator, ln, args.filters)
    bands, wave = {"bands": emulator.band_names}, {"wavelengths": emulator.wavelengths}
    _print_network(emulator, (flux, np.zeros_like(flux)), bands, theta, "all bands")
    _print_network(emulator, (np.exp(ln), np.zeros_like(ln)), wave, theta, "whole spectra")
    errors, inside = [], []
    for k, spectrum in enumerate(np.exp(ln)):
        obs = observe(emulator, spectrum, np.zeros_like(spectrum), wavelengths=emulator.wavelengths)
        errors.append(best_fit(obs) - theta[k])
        if k < args.nested:
            ranks = (posterior(obs, seed=1).samples < theta[k]).mean(axis=0)
            inside.append([np.abs(ranks - 0.5) < half for half in (0.3413, 0.475, 0.4985)])
    errors = np.abs(errors)
    a_min = 100 * np.expm1(np.log(10) * errors[:, 2])
    for name, e, limit in (("|dlog U|", errors[:, 0], 0.01), ("a_min, %", a_min, 3.0),
                           ("|dlog tau|", errors[:, 1], 0.05)):  # fmt: skip
        numbers = np.median(e), np.quantile(e, 0.95), limit, 100 * (e < limit).mean()
        print(name, "median {:.4f}, 95 % under {:.4f}, within {}: {:.1f} %".format(*numbers))
    if inside:
        for level, row in zip((68, 95, 99.7), np.mean(inside, axis=0), strict=True):
            share = ", ".join(f"{100 * v:.0f}" for v in row)
            print(f"truth inside the {level} % interval of U, tau, a_min: {share} % of "
                  f"{len(inside)}")  # fmt: skip


def galaxy(args):
    """Bands of one galaxy with FSPS's dust emission and with THEMIS's."""
    from prospect_emu.networks.vector import PARAMETERS
    from prospect_emu.observe.filters import load_filters
    from prospect_emu.training.exact import ExactSPS
    from prospect_emu.training.exact_tables import load_tables
    from prospect_emu.training.themis.dust_data import read_dust_model
    from prospect_emu.training.themis.dust_templates import a_min_of_qpah, themis_tables

    emulator, model = load_dust_emulator(args.emulator), read_dust_model(args.dust)
    tables, _ = load_tables(args.tables)
    values = dict.fromkeys(PARAMETERS, 0.0) | {
        "logmass": 10.5, "logzsol": -0.3, "dust2": 0.5, "dust1_fraction": 1.0, "log_fagn": -5.0,
        "log_agn_tau": 1.0, "zred": 0.02, "duste_qpah": 3.5, "duste_umin": 1.0,
        "log_duste_gamma": -2.0,
    }  # fmt: skip
    names = ["spitzer_irac_ch4", "spitzer_mips_24", "spitzer_mips_70", "herschel_pacs_70",
             "herschel_pacs_100", "herschel_pacs_160", "herschel_spire_250", "herschel_spire_350",
             "herschel_spire_500"]  # fmt: skip
    filters = load_filters(names)
    theta = np.array([[values[p] for p in PARAMETERS]])
    print(f"duste_qpah 3.5 is a_min {a_min_of_qpah(model, [3.5])[0]:.2f} nm")
    theirs = ExactSPS(tables).photometry(theta, filters)[0].numpy()
    print("THEMIS over FSPS (Draine & Li 2007):")
    for log_tau in (7.0, 8.0, 9.5):
        sps = ExactSPS(themis_tables(tables, emulator, model, log_tau))
        ratio = sps.photometry(theta, filters)[0].numpy() / theirs
        text = ", ".join(f"{n.split('_', 1)[1]} {r:.2f}" for n, r in zip(names, ratio, strict=True))
        print(f"  log tau {log_tau}: {text}")


def main():
    """Run the part that the command line names."""
    parts = {f.__name__: f for f in (engine, coverage, inverse, galaxy)}
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    p.add_argument("part", choices=parts)
    p.add_argument("--emulator", default="themis")
    p.add_argument("--dust", type=Path)
    p.add_argument("--field", type=Path)
    p.add_argument("--filters", type=Path, default=Path("../shared/dust/filters_extra"))
    p.add_argument("--tables", type=Path)
    p.add_argument("--test", type=Path)
    p.add_argument("--mocks", type=int, default=2000)
    p.add_argument("--nested", type=int, default=20, help="mocks also sampled, in coverage")
    args = p.parse_args()
    parts[args.part](args)


if __name__ == "__main__":
    main()
