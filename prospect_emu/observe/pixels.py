"""An observed spectrum, checked; and what its pixels are made of.

At one redshift pixels follow linearly from samples of L_nu and luminosities of lines.
`Samples` are these and the bands, in the form in which `prospect_emu.sps.fold.compile_sps`
takes bands.
"""

from types import SimpleNamespace

import numpy as np
from astropy import units as u

from ..cosmology import LIGHTSPEED, MAGGIE
from ..errors import DataError
from .observation import is_masked, plain_flags, plain_fluxes
from .photometry import FilterProjector

# Spectra that end below are in micron; FSPS's begin at 91 Angstrom.
_SHORTEST = 91.0


def observed_spectrum(obs):
    """Spectroscopic part of an obs dictionary, completed and checked.

    Parameters
    ----------
    obs : dict
        Prospector's ``wavelength`` (Angstrom, observed, vacuum), ``spectrum`` and ``unc``
        (maggies), ``mask``. Each may carry a unit.

    Returns
    -------
    wavelength, spectrum, unc : ndarray, shape (nwave,)
    mask : ndarray of bool, shape (nwave,)
        True where the pixel is used; False also where flux or error are not finite or the
        error is not positive, as in Prospector.

    Raises
    ------
    DataError
        If shapes differ, wavelengths do not increase, or no pixel is left.
    """
    for name in ("wavelength", "unc"):
        if obs.get(name) is None:
            raise DataError(f"obs has a spectrum but no {name}; give one value per pixel.")
    unit = getattr(obs["wavelength"], "unit", None)
    if is_masked(obs["wavelength"]).any():
        raise DataError("wavelength of obs has masked values; leave these pixels out.")
    try:
        wave = u.Quantity(obs["wavelength"], unit or u.AA).to_value(u.AA)
    except (u.UnitsError, TypeError, ValueError) as err:
        raise DataError(
            f"wavelength of obs is not an array of wavelengths ({err}); give Angstrom."
        ) from err
    wave = np.array(wave, dtype=float)
    flux = plain_fluxes(obs["spectrum"], "spectrum of obs")
    unc = plain_fluxes(obs["unc"], "unc of obs")
    if wave.ndim != 1 or flux.shape != wave.shape or unc.shape != wave.shape:
        raise DataError(
            f"obs has wavelength of shape {wave.shape}, spectrum of shape {flux.shape} and unc of "
            f"shape {unc.shape}; give one of each per pixel."
        )
    if not np.isfinite(wave).all() or (np.diff(wave) <= 0.0).any() or (wave <= 0.0).any():
        raise DataError(
            "The wavelengths of obs do not increase from pixel to pixel; sort the spectrum and "
            "leave out repeated ones."
        )
    if wave.size and wave[-1] < _SHORTEST:
        raise DataError(
            f"The wavelengths of obs end at {wave[-1]:g} A; give Angstrom, or an array with a unit."
        )
    mask = np.ones(wave.size, dtype=bool)
    if obs.get("mask") is not None:
        mask = plain_flags(obs["mask"], "mask", wave.shape, "the pixel is used")
    for given in (obs["spectrum"], obs["unc"]):
        mask &= ~is_masked(given)
    known, positive = np.isfinite(flux), np.isfinite(unc) & (np.nan_to_num(unc) > 0.0)
    if not (mask & known & positive).any():
        raise DataError(
            f"All pixels of the spectrum are masked: of {mask.size}, {(~mask).sum()} by its mask, "
            f"{(~known).sum()} for a flux that is not finite and {(~positive).sum()} for an error "
            "that is not positive; correct these, or leave the spectrum out."
        )
    mask &= known & positive
    return wave, flux, unc, mask


def check_covered(pixels, wave):
    """Refuse pixels beyond a library's wavelengths, as observed.

    Raises
    ------
    DataError
    """
    if pixels[0] < wave[0] or pixels[-1] > wave[-1]:
        raise DataError(
            f"The spectrum reaches from {pixels[0]:.4g} to {pixels[-1]:.4g} A, the library at its "
            f"redshift from {wave[0]:.4g} to {wave[-1]:.4g} A; cut the spectrum, or check the unit "
            "of its wavelengths."
        )


def spectrum_over_photometry(obs):
    """How many times as bright as the photometry a spectrum is.

    Parameters
    ----------
    obs : dict
        ``wavelength``, ``spectrum``, ``mask``; ``filters``, ``maggies``, ``phot_mask``.

    Returns
    -------
    dict
        Name of each fitted band that the spectrum covers: its flux by the spectrum over the
        observed one.
    """
    wave, mask, out = obs["wavelength"], obs["mask"], {}
    step = np.gradient(np.log(wave)) if wave.size > 1 else np.zeros(1)
    for f, flux, used in zip(obs["filters"], obs["maggies"], obs["phot_mask"], strict=True):
        trans = np.interp(wave, f.wavelength, f.transmission, left=0.0, right=0.0) * step
        whole = np.trapezoid(f.transmission, np.log(f.wavelength))
        seen = (trans * mask).sum()
        if used and flux > 0.0 and np.count_nonzero(trans) > 4 and seen > 0.9 * whole:
            out[f.name] = float((trans * mask) @ obs["spectrum"] / seen / flux)
    return out


def lines_in_bands(filters, seen):
    """Maggies per flux in maggies Hz of lines seen at wavelengths (nline,), (nband, nline).

    As Prospector's ``nebline_photometry`` has it.
    """
    out = np.empty((len(filters), seen.size))
    for i, f in enumerate(filters):
        trans = np.interp(seen, f.wavelength, f.transmission, left=0.0, right=0.0)
        out[i] = np.maximum(trans, 0.0) * seen * MAGGIE / f.ab_zero_counts
    return out


class Samples:
    """Bands, samples of L_nu and emission lines, as `compile_sps` takes bands.

    Parameters
    ----------
    filters : sequence of sedpy.observate.Filter
    wave : ndarray, shape (nwave,)
        Rest-frame wavelengths of the ingredients in Angstrom.
    nodes : ndarray of int
        Samples of `wave`; their values are L_nu seen as a flux in maggies.
    lines : ndarray of int
        Emission lines; their values are luminosity over frequency, seen likewise.
    delta_zred : float
        ``eline_delta_zred``: what the lines' redshift has in addition.
    fitted : ndarray of int
        Lines that the bands do not contain.
    """

    # A pixel's error counts as such, a band's is averaged.
    gas_tolerance = 3e-7

    def __init__(self, filters, wave, nodes, lines, delta_zred=0.0, fitted=()):
        self.bands = list(filters)
        self.wave, self.nodes, self.lines = wave, np.asarray(nodes), np.asarray(lines)
        self.delta_zred, self.fitted = float(delta_zred), np.asarray(fitted, dtype=int)
        self._bands = FilterProjector(self.bands, wave, "sedpy") if self.bands else None

    @property
    def filters(self):
        """What `compile_sps` asks for weights of lines."""
        return self

    @property
    def parts(self):
        """Columns of bands, of samples, of lines."""
        a, b = len(self.bands), len(self.bands) + self.nodes.size
        return slice(0, a), slice(a, b), slice(b, b + self.lines.size)

    def __len__(self):
        return self.parts[-1].stop

    def __iter__(self):
        yield from self.bands
        for j in self.nodes:
            yield SimpleNamespace(name=f"{self.wave[j]:.2f} A")
        for j in self.lines:
            yield SimpleNamespace(name=f"line {j}")

    def weights(self, zred):
        """As `FilterProjector.weights`; lines have a sample of no weight."""
        node = np.concatenate([self.nodes, np.zeros(self.lines.size, dtype=int)])
        weight = np.concatenate([np.ones(self.nodes.size), np.zeros(self.lines.size)])
        start = np.arange(node.size)
        if self._bands is None:
            return node, weight, start
        first = self._bands.weights(zred)
        return (
            np.concatenate([first[0], node]),
            np.concatenate([first[1], weight]),
            np.concatenate([first[2], first[0].size + start]),
        )

    def line_weights(self, line_wave, zred):
        """Of line luminosities in bands (as Prospector's ``nebline_photometry``) and lines."""
        lines = self.parts[-1]
        out = np.zeros((len(self), line_wave.size))
        seen = line_wave * (1.0 + zred + self.delta_zred)
        out[: len(self.bands)] = lines_in_bands(self.bands, seen) / (1.0 + zred)
        out[: len(self.bands), self.fitted] = 0.0
        out[np.arange(lines.start, lines.stop), self.lines] = line_wave[self.lines] / LIGHTSPEED
        return out
