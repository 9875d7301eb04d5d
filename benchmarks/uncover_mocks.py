"""Mocks at UNCOVER's depth and bands, fitted as a campaign of its layout with a free redshift.

    OMP_NUM_THREADS=1 python benchmarks/uncover_mocks.py FOLDER --n 100 [--report]

Galaxies are drawn from the prior of the model ``uncover`` (Prospector-beta), with the survey's
depths (5 sigma, AB, rounded), and kept where F444W is seen at 10 sigma. The campaign goes on where
it was stopped; ``--report`` says how redshifts, masses and star-formation rates came out.
"""

import argparse
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.table import Table

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.fit.predictions import predictions
from prospect_emu.fits.campaign import run_campaign
from prospect_emu.fits.config import read_config
from prospect_emu.fits.results import read_results, write_results
from prospect_emu.observe.filters import filter_of_short_name, load_filters
from prospect_emu.prospector.templates import template_model

DEPTH = {
    "f435w": 29.2, "f606w": 29.2, "f814w": 29.0, "f105w": 28.7, "f125w": 28.6, "f140w": 28.9,
    "f160w": 28.6, "f070w": 29.0, "f090w": 29.5, "f115w": 29.6, "f140m": 28.9, "f150w": 29.8,
    "f162m": 28.9, "f182m": 29.5, "f200w": 29.8, "f210m": 29.3, "f250m": 28.9, "f277w": 29.9,
    "f300m": 29.3, "f335m": 29.3, "f356w": 30.0, "f360m": 29.2, "f410m": 29.4, "f430m": 28.4,
    "f444w": 29.7, "f460m": 28.2, "f480m": 28.3,
}  # fmt: skip
ZEROPOINT, FLOOR, SNR, DRAWN = 28.9, 0.05, 10.0, 20000
QUANTITIES = ("zred", "log_stellar_mass", "log_sfr_100", "mass_weighted_age")
SETTINGS = """name = "mocks like UNCOVER's"
output = "campaign"
[catalog]
kind = "table"
layout = "uncover"
path = "mocks.fits"
error_floor = 0.0
[fit]
model = ["uncover"]
restframe = ["UVJ", "M_UV"]
draws = 1000
{fit}
"""


def mocks(n, seed=0):
    """A catalog of UNCOVER's layout, with the truth in columns ``true_``."""
    filters = load_filters(filter_of_short_name(name) for name in DEPTH)
    obs = {"filters": filters, "maggies": np.ones(len(filters)), "wavelength": None}
    obs |= {"maggies_unc": np.ones(len(filters)), "spectrum": None, "unc": None}
    model, sps = template_model("uncover", zred_prior="model")[0], EmulatorSPS()
    posterior, derived = BatchedPosterior(model, obs, sps), predictions(model, obs, sps)
    rng = np.random.default_rng(seed)
    sky = 0.2 * 10.0 ** (-0.4 * (np.array(list(DEPTH.values())) - ZEROPOINT))
    theta, flux, error = (np.empty((0, k)) for k in (model.ndim, sky.size, sky.size))
    at = list(DEPTH).index("f444w")
    while len(theta) < n:
        drawn = posterior.prior_transform(rng.random((DRAWN, model.ndim)))
        true = posterior.maggies(drawn) * 10.0 ** (0.4 * ZEROPOINT)
        sigma = np.hypot(sky, FLOOR * true)
        seen = true + sigma * rng.normal(size=true.shape)
        # By what is seen alone: the truth of those that are kept still follows their posterior.
        keep = seen[:, at] > SNR * sky[at]
        theta, flux = np.append(theta, drawn[keep], axis=0), np.append(flux, seen[keep], axis=0)
        error = np.append(error, sigma[keep], axis=0)
    table = Table({"id": np.arange(1, n + 1), "use_phot": np.ones(n, dtype=int)})
    table["z_spec"] = np.full(n, np.nan)
    for i, name in enumerate(DEPTH):
        table[f"f_{name}"], table[f"e_{name}"] = flux[:n, i], error[:n, i]
    _, true = derived.quantities(theta[:n])
    for name in QUANTITIES[1:]:
        table[f"true_{name}"] = true[name]
    table["true_zred"] = theta[:n, 0]
    return table


def photometry(galaxy):
    """Prospector's ``obs`` of a row of the catalog."""
    unit = 10.0 ** (-0.4 * ZEROPOINT)
    columns = ("maggies", "f"), ("maggies_unc", "e")
    obs = {k: unit * np.array([galaxy[f"{c}_{name}"] for name in DEPTH]) for k, c in columns}
    filters = load_filters(filter_of_short_name(name) for name in DEPTH)
    return obs | {"filters": filters, "wavelength": None, "spectrum": None, "unc": None}


def fitted(results):
    """Rows of the fits that ended, "uncertain" ones too, whose redshifts have several modes."""
    return results.table[np.isfinite(results.table["zred_p50"])]


def compared(title, done, truth):
    """Print outliers, scatter and coverage of fits (rows with percentiles) against the truth."""
    truth = truth[np.searchsorted(truth["id"], np.asarray(done["galaxy"], dtype=int))]
    off = (done["zred_p50"] - truth["true_zred"]) / (1.0 + truth["true_zred"])
    spread = 1.48 * np.median(np.abs(off - np.median(off)))
    print(
        f"{title}: {len(done)} galaxies at redshifts {truth['true_zred'].min():.2f} to "
        f"{truth['true_zred'].max():.2f}: {np.sum(np.abs(off) > 0.15)} outliers, "
        f"sigma_NMAD {spread:.4f}"
    )
    for name in QUANTITIES:
        true, width = truth[f"true_{name}"], done[f"{name}_p84"] - done[f"{name}_p16"]
        error = np.abs(done[f"{name}_p50"] - true)
        inside = np.mean((true >= done[f"{name}_p16"]) & (true <= done[f"{name}_p84"]))
        wide = np.mean((true >= done[f"{name}_p025"]) & (true <= done[f"{name}_p975"]))
        print(
            f"    {name}: {100 * inside:.0f} % within 68 %, {100 * wide:.0f} % within 95 %, "
            f"median width {np.median(width):.3f}, median error {np.median(error):.3f}"
        )


def report(folder):
    """Print how the campaign's fits came out, their times, and whether astropy takes the table."""
    results = read_results(folder / "campaign")
    write_results(results, folder / "campaign")
    fits.open(folder / "campaign" / "sps_catalog.fits").verify("exception")
    states, numbers = np.unique(results.table["state"], return_counts=True)
    print(", ".join(f"{n} {state}" for state, n in zip(states, numbers, strict=True)))
    done = fitted(results)
    if not len(done):
        return
    compared("exact", done, Table.read(folder / "mocks.fits"))
    spent = done["seconds"] + done["seconds_outside"]
    print(
        f"{3600.0 / np.mean(spent):.1f} galaxies per core and hour of wall time, "
        f"{np.median(done['ncall']):.0f} calls in the median; the table opens strictly"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--n", type=int, default=100)
    parser.add_argument("--fit", default="", help='lines of [fit], such as "nlive = 500"')
    parser.add_argument("--report", action="store_true")
    given = parser.parse_args()
    given.folder.mkdir(parents=True, exist_ok=True)
    if not (given.folder / "mocks.fits").exists():
        mocks(given.n).write(given.folder / "mocks.fits")
        (given.folder / "mocks.toml").write_text(SETTINGS.format(fit=given.fit))
    if not given.report:
        run_campaign(read_config(given.folder / "mocks.toml"))
    report(given.folder)
