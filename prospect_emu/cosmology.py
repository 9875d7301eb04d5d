"""Cosmology and units, as in Prospector: WMAP9, and its values of constants."""

from functools import lru_cache

import numpy as np
from astropy.cosmology import WMAP9
from scipy.interpolate import CubicSpline

# Prospector's values (prospect.sources.constants), in cgs unless named otherwise.
LSUN = 3.846e33  # erg/s
PARSEC = 3.085677581467192e18  # cm
LIGHTSPEED = 2.998e18  # Angstrom/s
LIGHTSPEED_KMS = 2.998e5
JANSKY = 1e-23
MAGGIE = 3631.0 * JANSKY  # zero point of AB magnitudes
TEN_PARSEC_AREA = 4.0 * np.pi * (10.0 * PARSEC) ** 2  # cm2
# From L_nu (Lsun/Hz) to maggies at 10 pc.
MAGGIES_AT_10PC = LSUN / TEN_PARSEC_AREA / MAGGIE
_ZMAX = 20.0
_LIGHT = 2.99792458e5  # km/s


@lru_cache(maxsize=1)
def splines():
    """Splines of ln(age) and ln(distance / z) in ln(1+z): astropy costs a millisecond a call.

    4096 nodes keep both within 1e-10 of astropy (tested).
    """
    x = np.linspace(0.0, np.log1p(_ZMAX), 4096)
    z = np.expm1(x)
    age = CubicSpline(x, np.log(WMAP9.age(z).to_value("yr")))
    # D_L / z is smooth through z = 0; D_L itself would be -inf in the log.
    ratio = np.empty_like(z)
    ratio[1:] = WMAP9.luminosity_distance(z[1:]).to_value("Mpc") / z[1:]
    ratio[0] = _LIGHT / WMAP9.H0.to_value("km / (Mpc s)")
    return age, CubicSpline(x, np.log(ratio))


def age_of_universe(zred):
    """Age of the universe at redshift `zred` in years."""
    return np.exp(splines()[0](np.log1p(np.asarray(zred, dtype=float))))


def luminosity_distance(zred):
    """Luminosity distance in Mpc; zero at redshift zero."""
    zred = np.asarray(zred, dtype=float)
    return zred * np.exp(splines()[1](np.log1p(zred)))


def flux_factor(zred, lumdist=None):
    """Factor from L_nu (Lsun/Hz, rest frame) to f_nu in maggies (observed frame).

    Parameters
    ----------
    zred : array_like
    lumdist : array_like, optional
        Distance in Mpc in place of the cosmology's (Prospector's ``lumdist``). Without it a
        source at redshift zero is at 10 pc, as in Prospector.
    """
    zred = np.asarray(zred, dtype=float)
    mpc = luminosity_distance(zred) if lumdist is None else np.asarray(lumdist, dtype=float)
    d10pc = np.where(mpc > 0.0, mpc, 1e-5) * 1e5
    return MAGGIES_AT_10PC * (1.0 + zred) / d10pc**2
