"""Mock galaxies: photometry of known parameters, with noise like 3D-HST's.

    python -m prospect_emu.fits.mocks OUT.ecsv --n 100 [--fluxes EMULATOR] [--like FOLDER]

writes a catalog of mocks for a campaign (``catalog.kind = "mocks"``): parameters
from the priors of a fit, fluxes of an emulator, noise from the model below or from the
errors of a real catalog's galaxies; the truth is kept in it.
"""

import argparse
from dataclasses import dataclass

import numpy as np
from astropy.table import Table

from prospect_emu.errors import DataError
from prospect_emu.networks.loading import load_emulator
from prospect_emu.networks.vector import BOX, PARAMETERS

from .catalogs import TRUE
from .threedhst import BANDS, galaxy_obs, read_catalog

# One-sigma sky noise in microjansky: space optical and near infrared, ground
# optical, ground near infrared, IRAC 1-2, IRAC 3-4, MIPS 24.
_DEPTH = (
    (("acs_", "wfc3_"), 0.01),
    (("spitzer_irac_ch1", "spitzer_irac_ch2"), 0.05),
    (("spitzer_irac",), 0.5),
    (("spitzer_mips",), 8.0),
    (("mayall_newfirm", "cfht_wircam", "vista_vircam"), 0.12),
    (("",), 0.02),
)
RELATIVE_ERROR = 0.03  # photometric calibration and extraction


def sky_noise(band):
    """One-sigma sky noise of a band in microjansky."""
    return next(depth for prefixes, depth in _DEPTH if band.startswith(prefixes))


@dataclass(frozen=True)
class MockRecipe:
    """How mocks are made.

    Attributes
    ----------
    n : int
    seed : int
    zred : (float, float)
        Redshifts are uniform in this range, or, with `like`, the real galaxies'.
    min_snr : float
        Mocks with less than this signal to noise in `snr_band` are drawn again: the
        prior of the mass alone makes nearly all of them invisible. Where the mass
        is drawn from the prior, the truths that are kept no longer follow it.
    snr_band : str
    like : path-like, optional
        Folder of a 3D-HST catalog: each mock has the redshift, the errors and the
        masked bands of one of its galaxies.
    """

    n: int = 100
    seed: int = 0
    zred: tuple = (0.5, 3.0)
    min_snr: float = 10.0
    snr_band: str = "wfc3_ir_f160w"
    like: str | None = None


def draw_from_priors(rng, zred):
    """A parameter vector (18,) from the priors of a fit at a redshift."""
    from prospect_emu import EmulatorSpecModel
    from prospect_emu.prospector.mathews23 import model_params

    model = EmulatorSpecModel(model_params(zred=zred))
    values = dict(zip(model.theta_labels(), model.prior_transform(rng.random(model.ndim)),
                      strict=True))  # fmt: skip
    values["logmass"], values["logzsol"] = values["massmet_1"], values["massmet_2"]
    values["zred"] = zred
    theta = np.array([float(values[name]) for name in PARAMETERS])
    box = np.array([BOX[name] for name in PARAMETERS])
    box[PARAMETERS.index("zred")] = zred
    return np.clip(theta, *box.T)  # rounding may leave the box by one digit


def mock_catalog(fluxes, bands, recipe):
    """A catalog of mocks.

    Parameters
    ----------
    fluxes : callable
        Parameter vectors (1, 18) -> maggies (1, nband).
    bands : sequence of str
    recipe : MockRecipe

    Returns
    -------
    astropy.table.Table
        ``id``, ``zred``, ``f_BAND`` and ``e_BAND`` in maggies (NaN where masked),
        ``true_PARAMETER``, ``drawn`` (how many draws it took); the bands and the
        recipe are in its metadata.

    Raises
    ------
    DataError
        If 1000 draws in a row are too faint.
    """
    bands = tuple(bands)
    noise = _noise_like(recipe, bands) if recipe.like else _noise_model(recipe, bands)
    at = bands.index(recipe.snr_band)
    rows = []
    for i in range(recipe.n):
        rng = np.random.default_rng([recipe.seed, i])
        zred, theta, true, error, drawn = _draw_visible(rng, fluxes, noise, at, recipe)
        flux = true + error * rng.normal(size=true.size)
        row = {"id": i, "zred": zred, "drawn": drawn}
        for j, band in enumerate(bands):
            row[f"f_{band}"], row[f"e_{band}"] = flux[j], error[j]
        rows.append(row | {TRUE + k: v for k, v in zip(PARAMETERS, theta, strict=True)})
    table = Table(rows)
    table.meta = {"bands": list(bands), "seed": recipe.seed, "min_snr": recipe.min_snr}
    return table


def _draw_visible(rng, fluxes, noise, at, recipe):
    """Redshift, parameters, fluxes and errors of a mock that is bright enough in band `at`."""
    for drawn in range(1, 1001):
        zred, error_of = noise(rng)
        theta = draw_from_priors(rng, zred)
        true = np.asarray(fluxes(theta[None]), dtype=float)[0]
        error = error_of(true)
        if true[at] / error[at] >= recipe.min_snr:
            return zred, theta, true, error, drawn
    raise DataError(
        f"1000 mocks in a row have less than min_snr = {recipe.min_snr:g} in {recipe.snr_band}; "
        "lower it."
    )


def _noise_model(recipe, bands):
    """Sky noise and a relative error, at redshifts uniform in the recipe's range."""
    sky = np.array([sky_noise(b) for b in bands]) / 3631e6

    def noise(rng):
        return float(rng.uniform(*recipe.zred)), lambda true: np.hypot(RELATIVE_ERROR * true, sky)

    return noise


def _noise_like(recipe, bands):
    """Redshift and catalog errors of a random galaxy of a real catalog.

    Raises
    ------
    DataError
        If none can be used.
    """
    catalog = read_catalog(recipe.like)
    if set(bands) - set(BANDS.values()):
        raise DataError("Errors like 3D-HST's exist for its own bands only.")
    names = list(BANDS.values())
    order = [names.index(b) for b in bands]
    at = bands.index(recipe.snr_band)
    zred = np.ma.filled(np.ma.asarray(catalog["z_best"], dtype=float), np.nan)
    with np.errstate(invalid="ignore"):
        rows = np.flatnonzero((zred >= recipe.zred[0]) & (zred <= recipe.zred[1]))
    if not rows.size:
        raise DataError(
            f"{recipe.like} holds no galaxy of redshift {recipe.zred[0]:g} to {recipe.zred[1]:g}; "
            "give another catalog."
        )

    def noise(rng):
        for row in rng.permutation(rows):
            obs = galaxy_obs(catalog, row=int(row))
            unc = np.where(obs["phot_mask"], obs["maggies_unc_catalog"], np.nan)[order]
            if np.isfinite(unc[at]):
                return obs["zred"], lambda true, unc=unc: unc
        raise DataError(
            f"No galaxy of {recipe.like} is measured in {recipe.snr_band}; give another catalog."
        )

    return noise


def write_catalog(path, fluxes, recipe):
    """Write a catalog of mocks in the bands of 3D-HST COSMOS.

    Parameters
    ----------
    path : path-like
    fluxes : str
        What makes them: name or file of an emulator.
    recipe : MockRecipe
    """
    bands = tuple(BANDS.values())
    emulator = load_emulator(fluxes).select(bands)
    table = mock_catalog(lambda theta: emulator.maggies(theta, check=False), bands, recipe)
    table.meta["fluxes"] = fluxes
    table.write(path, format="ascii.ecsv", overwrite=True)


def main(argv=None):
    """The command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Writes mock galaxies.")
    parser.add_argument("path")
    parser.add_argument("--n", type=int, default=100, help="number of mocks (%(default)s)")
    parser.add_argument(
        "--fluxes", default="mathews23-factored", help="emulator that makes them (%(default)s)"
    )
    parser.add_argument("--like", help="folder of the 3D-HST catalog whose errors they have")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--min-snr", type=float, default=10.0)
    args = parser.parse_args(argv)
    recipe = MockRecipe(args.n, args.seed, min_snr=args.min_snr, like=args.like)
    write_catalog(args.path, args.fluxes, recipe)


if __name__ == "__main__":
    main()
