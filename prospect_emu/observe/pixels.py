"""The pixels of an observed spectrum as a linear operator on a galaxy's light.

At one redshift, smoothing, resampling and emission lines of fixed width are linear in the
samples of L_nu and in the luminosities of the lines. `pixel_operator` writes down what a
model's own smoothing does; `Samples` are the bands, samples and lines that it acts on, in the
form in which `prospect_emu.sps.fold.compile_sps` takes bands.
"""

from types import SimpleNamespace

import numpy as np
from astropy import units as u

from ..cosmology import LIGHTSPEED, MAGGIE
from ..errors import DataError
from .observation import is_masked, plain_flags, plain_fluxes
from .photometry import FilterProjector

# Of the largest entry of a row (samples) or a column (lines): far below rounding of the data.
_NEGLIGIBLE = 1e-13
# Samples that are tried together for whether any pixel sees them.
_TRIED = 64
# Pixels in one dense product.
_BLOCK = 48


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
    try:
        wave = u.Quantity(obs["wavelength"], unit or u.AA).to_value(u.AA)
    except (u.UnitsError, TypeError, ValueError) as err:
        raise DataError(
            f"wavelength of obs is no array of wavelengths ({err}); give Angstrom."
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
    mask = np.ones(wave.size, dtype=bool)
    if obs.get("mask") is not None:
        mask = plain_flags(obs["mask"], "mask", wave.shape, "the pixel is used")
    for given in (obs["spectrum"], obs["unc"]):
        mask &= ~is_masked(given)
    mask &= np.isfinite(flux) & np.isfinite(unc) & (np.nan_to_num(unc) > 0.0)
    if not mask.any():
        raise DataError("All pixels of the spectrum are masked; unmask some or leave it out.")
    return wave, flux, unc, mask


def smoothing_matrix(smooth, wave, npix):
    """The matrix of a linear smoothing, from what it does to one sample at a time.

    Parameters
    ----------
    smooth : callable
        Spectrum (nwave,) to pixels (npix,), linear and the same at each call.
    wave : ndarray, shape (nwave,)
    npix : int

    Returns
    -------
    node : ndarray of int, shape (m,)
        Samples that any pixel sees.
    matrix : ndarray, shape (npix, m)
    """
    trial = 0.5 + np.random.default_rng(0).random(wave.size)
    seen = []
    for first in range(0, wave.size, _TRIED):
        block = np.zeros(wave.size)
        block[first : first + _TRIED] = trial[first : first + _TRIED]
        if np.any(smooth(block)):
            seen += range(first, min(first + _TRIED, wave.size))
    matrix, one = np.empty((npix, len(seen))), np.zeros(wave.size)
    for k, j in enumerate(seen):
        one[j] = 1.0
        matrix[:, k] = smooth(one)
        one[j] = 0.0
    largest = np.abs(matrix).max(axis=1, keepdims=True, initial=0.0)
    matrix[np.abs(matrix) < _NEGLIGIBLE * largest] = 0.0
    some = np.any(matrix != 0.0, axis=0)
    return np.array(seen, dtype=int)[some], matrix[:, some]


def gaussian_matrix(wave, outwave, sigma, kind, nsigma=10.0):
    """The matrix of Prospector's direct smoothing (``fftsmooth=False``).

    Each pixel is the trapezoid rule over the samples within `nsigma`, against a Gaussian,
    over that of the Gaussian alone (`prospect.utils.smoothing.smooth_vel`, `smooth_wave`).

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
        Wavelengths of the samples as observed, Angstrom.
    outwave : ndarray, shape (npix,)
    sigma : float
        Dispersion: Angstrom, or of ln(lambda).
    kind : {"lambda", "vel"}

    Returns
    -------
    node : ndarray of int, shape (m,)
    matrix : ndarray, shape (npix, m)
    """
    at, pixels = (wave, outwave) if kind == "lambda" else (np.log(wave), np.log(outwave))
    first = np.searchsorted(at, pixels - nsigma * sigma, side="right")
    last = np.searchsorted(at, pixels + nsigma * sigma, side="left")
    low, high = first.min(), max(last.max(), first.min() + 1)
    matrix = np.zeros((pixels.size, high - low))
    for i, (a, b) in enumerate(zip(first, last, strict=True)):
        x = (at[a:b] - pixels[i]) / sigma
        half = 0.5 * np.diff(x)
        weight = np.zeros(x.size)
        weight[:-1] += half
        weight[1:] += half
        weight *= np.exp(-0.5 * x**2)
        total = weight.sum()
        matrix[i, a - low : b - low] = weight / total if total > 0.0 else np.nan
    return np.arange(low, high), matrix


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
    quadrature : {"converged", "sedpy"}
        Of the bands, see `FilterProjector`.
    """

    # A pixel's error counts as such, a band's is averaged.
    gas_tolerance = 3e-7

    def __init__(self, filters, wave, nodes, lines, delta_zred=0.0, quadrature="sedpy"):
        self.bands = list(filters)
        self.wave, self.nodes, self.lines = wave, np.asarray(nodes), np.asarray(lines)
        self.delta_zred = float(delta_zred)
        self.line_wave = None
        self._bands = FilterProjector(self.bands, wave, quadrature) if self.bands else None

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
        stretch = 1.0 + self.delta_zred / (1.0 + zred)
        seen = line_wave * stretch * (1.0 + zred)
        for i, f in enumerate(self.bands):
            trans = np.interp(seen, f.wavelength, f.transmission, left=0.0, right=0.0)
            out[i] = np.maximum(trans, 0.0) * line_wave * stretch * MAGGIE / f.ab_zero_counts
        out[np.arange(lines.start, lines.stop), self.lines] = line_wave[self.lines] / LIGHTSPEED
        return out


class PixelOperator:
    """Pixels of a spectrum from samples and lines, by dense blocks along its diagonal.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
        Rest-frame, Angstrom.
    node : ndarray of int, shape (m,)
    matrix : ndarray, shape (npix, m)
    line_wave : ndarray, shape (nline,)
        Of all lines, rest-frame.
    line : ndarray of int, shape (k,)
        Lines in the pixels.
    profiles : ndarray, shape (npix, k)
        Flux density in the pixels per luminosity over frequency.
    """

    def __init__(self, wave, node, matrix, line_wave, line, profiles):
        both = np.concatenate([matrix, profiles], axis=1)
        peak = np.abs(profiles).max(axis=0, initial=0.0)
        both[:, node.size :][np.abs(profiles) < _NEGLIGIBLE * peak] = 0.0
        if not np.isfinite(both).all():
            raise DataError(
                "Some pixels of the spectrum have no value: they lie beyond the wavelengths of the "
                f"library, {wave[0]:.0f} to {wave[-1]:.0f} A in the rest frame, or between too few "
                "of its samples for sigma_smooth."
            )
        # By wavelength, so that the operator is a band along the diagonal.
        self.order = np.argsort(np.concatenate([wave[node], line_wave[line]]), kind="stable")
        both = both[:, self.order]
        self.npix, self.node, self.line = len(both), node, line
        self._blocks = []
        for first in range(0, self.npix, _BLOCK):
            rows = slice(first, min(first + _BLOCK, self.npix))
            some = np.flatnonzero(np.any(both[rows] != 0.0, axis=0))
            columns = slice(some[0], some[-1] + 1) if some.size else slice(0, 1)
            self._blocks.append((rows, columns, np.ascontiguousarray(both[rows, columns].T)))

    def __call__(self, values):
        """Pixels (n, npix) of samples and lines (n, m + k)."""
        values = values[:, self.order]
        out = np.empty((len(values), self.npix))
        for rows, columns, block in self._blocks:
            np.matmul(values[:, columns], block, out=out[:, rows])
        return out
