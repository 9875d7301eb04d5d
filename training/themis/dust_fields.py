"""Radiation fields that heat dust: ``4 pi J_nu`` in erg/s/cm2/Hz on the wavelengths of the optics.

The intensity U scales a field to ``int 4 pi J_nu dnu = U x 2.2e-2 erg/s/cm2`` over
0.0912-8 micron. The Mathis et al. (1983) field as tabulated has 2.215e-2 there and is
U = 1 by its own convention (`mathis`); `normalised` brings any other field to U = 1.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prospect_emu.errors import DataError, RangeError
from prospect_emu.sps.constants import between, find_cell

C_MICRON = 2.99792458e14  # micron/s
PLANCK = 6.62607015e-27
BOLTZMANN = 1.380649e-16
UNIT_POWER = 2.2e-2  # erg/s/cm2
UNIT_RANGE = (0.0912, 8.0)  # micron


def _log_weights(wave, low=0.0, high=np.inf):
    """Trapezoid weights over ln(wavelength) of the samples inside [low, high]."""
    inside = (wave >= low) & (wave <= high)
    x = np.log(wave[inside])
    half = 0.5 * np.diff(x)
    out = np.zeros(wave.size)
    out[inside] = np.pad(half, (0, 1)) + np.pad(half, (1, 0))
    return out


def power(wave, field, low=UNIT_RANGE[0], high=UNIT_RANGE[1]):
    """``int 4 pi J_nu dnu`` between two wavelengths (micron), erg/s/cm2, shape (...)."""
    return field @ (_log_weights(wave, low, high) * C_MICRON / wave)


def normalised(wave, field):
    """Fields (..., nwave) scaled to U = 1."""
    total = power(wave, field)
    if not np.all(total > 0):
        raise DataError("A radiation field has no power between 0.0912 and 8 micron; U needs it.")
    return field * (UNIT_POWER / total)[..., None]


def from_table(wave, table_wave, table_field):
    """A tabulated field on the wavelengths `wave`, zero outside its own.

    Linear in ln(wavelength) between the points of the table; where the table is the
    finer of the two, its mean over each cell of `wave`, so that no power is lost.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
        micron.
    table_wave : array_like, shape (n,)
        micron, increasing.
    table_field : array_like, shape (..., n)
        ``4 pi J_nu``, not negative.

    Raises
    ------
    DataError
        If the table is not such a field.
    """
    x, f = np.asarray(table_wave, dtype=float), np.asarray(table_field, dtype=float)
    if x.ndim != 1 or x.size < 2 or f.shape[-1:] != x.shape:
        raise DataError(
            f"A radiation field needs two or more wavelengths and one value each; got shapes "
            f"{x.shape} and {f.shape}."
        )
    if not (np.isfinite(x).all() and np.isfinite(f).all() and (x > 0).all() and (f >= 0).all()):
        raise DataError(
            "A radiation field must be finite and not negative at positive wavelengths."
        )
    if not (np.diff(x) > 0).all():
        raise DataError("The wavelengths of a radiation field must increase.")
    at, lx = np.log(wave), np.log(x)
    if f.ndim > 1:
        flat = [from_table(wave, x, row) for row in f.reshape(-1, x.size)]
        return np.array(flat).reshape(*f.shape[:-1], wave.size)
    inside = (wave >= 0.0912) & (wave <= 8.0)
    finer = np.count_nonzero((x >= 0.0912) & (x <= 8.0)) > 2 * np.count_nonzero(inside)
    if not finer:
        return np.interp(at, lx, f, left=0.0, right=0.0)
    # Running integral of the piecewise linear table, exact between its nodes.
    total = np.concatenate([[0.0], np.cumsum(0.5 * (f[1:] + f[:-1]) * np.diff(lx))])
    edges = np.concatenate([at[:1], 0.5 * (at[1:] + at[:-1]), at[-1:]])

    def integral(e):
        e = e.clip(lx[0], lx[-1])
        i, _ = find_cell(lx, e)
        u = e - lx[i]
        slope = (f[i + 1] - f[i]) / (lx[i + 1] - lx[i])
        return total[i] + u * (f[i] + 0.5 * u * slope)

    return np.maximum(np.diff(integral(edges)), 0.0) / np.diff(edges)


def blackbody(wave, temperature, u=1.0):
    """Light of a blackbody star, cut at 0.0912 micron as by neutral hydrogen, of intensity `u`.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
        micron.
    temperature : float
        K.
    u : float
    """
    if not (np.isfinite(temperature) and temperature > 0):
        raise RangeError(f"A blackbody of {temperature} K gives no light; use more than 0 K.")
    x = PLANCK * C_MICRON / (wave * BOLTZMANN * temperature)
    field = wave**-3.0 / np.expm1(np.minimum(x, 700.0))
    field[wave < UNIT_RANGE[0]] = 0.0
    return u * normalised(wave, field)


@dataclass(frozen=True)
class StellarFields:
    """Fields of bursts of star formation by age, each at U = 1.

    Between the ages of the table the field is linear in log10(age).

    Attributes
    ----------
    wave : ndarray, shape (nwave,)
        micron.
    log_age : ndarray, shape (nage,)
        log10 of the age in years, increasing.
    fields : ndarray, shape (nage, nwave)
        ``4 pi J_nu`` at U = 1.
    note : str
        Where they come from.
    """

    wave: np.ndarray
    log_age: np.ndarray
    fields: np.ndarray
    note: str

    def __call__(self, u, log_tau):
        """Fields (n, nwave) of intensities `u` (n,) and log10 of the burst's age `log_tau` (n,)."""
        u, log_tau = np.broadcast_arrays(*np.atleast_1d(u, log_tau))
        lo, hi = self.log_age[[0, -1]]
        bad = ~((log_tau >= lo - 1e-9) & (log_tau <= hi + 1e-9))
        if bad.any():
            raise RangeError(
                f"log10(tau/yr) = {log_tau[bad][0]:g} lies outside {lo:g} to {hi:g}, the ages of "
                "the stellar table."
            )
        if not (np.isfinite(u) & (u > 0)).all():
            raise RangeError("The intensity U must be positive and finite.")
        return u[:, None] * between(self.fields, *find_cell(self.log_age, log_tau))

    @classmethod
    def read(cls, path, wave, age_key="log_age_51", field_key="four_pi_jnu_51"):
        """Read a NumPy archive with ``wave_um``, log10 ages and ``4 pi J_nu`` per age.

        Parameters
        ----------
        path : path-like
            An .npz file.
        wave : ndarray, shape (nwave,)
            Wavelengths of the optics, micron.
        age_key, field_key : str
            Names of the ages (nage,) and the fields (nage, n) in it.

        Raises
        ------
        DataError
            If the file is missing, no archive, or lacks one of these.
        """
        try:
            with np.load(path, allow_pickle=False) as f:
                table_wave, log_age, table = f["wave_um"], f[age_key], f[field_key]
                note = str(f["note"]) if "note" in f else Path(path).name
        except (OSError, ValueError, KeyError) as err:
            raise DataError(
                f"{path} is not a table of stellar fields ({err}); it must be an .npz archive with "
                f"wave_um (micron), {age_key} (log10 yr) and {field_key} (erg/s/cm2/Hz)."
            ) from err
        if log_age.ndim != 1 or log_age.size < 2 or not (np.diff(log_age) > 0).all():
            raise DataError(f"{path}: {age_key} must hold two or more increasing ages.")
        fields = normalised(wave, from_table(wave, table_wave, table))
        return cls(np.asarray(wave), log_age, fields, note)
