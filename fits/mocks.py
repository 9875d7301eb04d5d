"""Mock galaxies: FSPS photometry of known parameters, with noise like 3D-HST's.

    python -m prospect_emu.fits.mocks OUT.ecsv

writes the galaxy that ``prospect-emu fit`` fits when it is given none (needs
python-fsps; the emulator has no part in it).
"""

import sys

import numpy as np
from astropy.table import Table

from prospect_emu.model import PARAMETERS

from .threedhst import BANDS

# A dusty star-forming galaxy with a faint AGN, at cosmic noon.
EXAMPLE = {
    "logmass": 10.7,
    "logzsol": -0.15,
    "logsfr_ratios_1": 0.15,
    "logsfr_ratios_2": -0.1,
    "logsfr_ratios_3": -0.25,
    "logsfr_ratios_4": -0.1,
    "logsfr_ratios_5": 0.2,
    "logsfr_ratios_6": 0.1,
    "dust2": 0.7,
    "dust_index": -0.3,
    "dust1_fraction": 1.1,
    "log_fagn": -1.6,
    "log_agn_tau": 1.3,
    "gas_logz": -0.2,
    "zred": 1.1,
    "duste_qpah": 2.5,
    "duste_umin": 3.0,
    "log_duste_gamma": -1.9,
}

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


def mock_table(theta, maggies, bands, seed):
    """Noisy photometry of one galaxy as a table that `read_photometry` reads.

    Parameters
    ----------
    theta : array_like, shape (18,)
        True parameters, kept in the table's metadata.
    maggies : ndarray, shape (nband,)
        Noise-free fluxes.
    bands : sequence of str
    seed : int

    Returns
    -------
    astropy.table.Table
        Columns ``band``, ``flux``, ``error`` (microjansky).
    """
    true = np.asarray(maggies) * 3631e6
    error = np.hypot(RELATIVE_ERROR * true, [sky_noise(b) for b in bands])
    flux = true + error * np.random.default_rng(seed).normal(size=true.size)
    digits = {"flux": flux, "error": error}
    table = Table({"band": list(bands)})
    for name, values in digits.items():
        table[name] = [float(f"{v:.6g}") for v in values]
        table[name].unit = "uJy"
    theta = dict(zip(PARAMETERS, map(float, theta), strict=True))
    table.meta.update(
        comment="Mock galaxy: FSPS (PARSEC/CK04) photometry with noise; truth below.",
        zred=theta["zred"],
        truth=theta,
    )
    return table


def main(path):
    """Write the example galaxy to `path`."""
    from prospect_emu.training.generate import FSPSPhotometry
    from prospect_emu.training.recipe import Recipe

    bands = tuple(BANDS.values())
    theta = np.array([EXAMPLE[name] for name in PARAMETERS])
    maggies, _ = FSPSPhotometry(Recipe(filters=bands))(theta)
    mock_table(theta, maggies, bands, seed=11).write(path, format="ascii.ecsv", overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
