"""A first look at observed dust emission: one pass of a network, for bands or a spectrum.

Fast and approximate: a Gaussian in the logarithms of U, tau and a_min, for a known dust mass.
`dust_inverse.posterior` is the answer to trust. The networks read *channels*, any of which may
be missing: the emulator's bands, or the means of a spectrum in bins of `dust.BIN` cells of the
emulator's wavelength grid. Which channels are used, and what is read of them, is decided here
alone, for training as for use.
"""

import numpy as np

from ..errors import DataError, RangeError
from .dust_emulator import BIN, LN10

# Fractional errors that the networks saw.
ERROR_RANGE = (0.003, 0.3)
# Channels this much fainter than the brightest are left out: stars outshine them.
FAINTEST = 1e-5
# Logarithms of sigma that the network was scored for, in units of the prior's spread.
LOG_SIGMA = (-7.0, 1.5)
# Data this many times off the model, in the mean over their channels, are like no model.
MISFIT = 3.0


def bin_weights(grid, wavelengths):
    """What turns a spectrum into its means in bins.

    A spectrum is linear in ln(wavelength) between its points.

    Parameters
    ----------
    grid : ndarray, shape (nwave,)
        The emulator's wavelengths, micron.
    wavelengths : ndarray, shape (n,)
        The spectrum's, in any order.

    Returns
    -------
    weights : ndarray, shape (nbin, n)
        Means of F are ``weights @ F``; zero for bins that are not covered.
    covered : ndarray of bool, shape (nbin,)
        Bins within the spectrum whose points lie closer than the bin is wide.
    """
    edges = np.log(grid[::BIN])
    # Of two values at one wavelength, the first ends one line, the second begins another.
    order = np.argsort(wavelengths, kind="stable")
    x = np.log(wavelengths[order])
    weights = np.zeros((edges.size - 1, x.size))
    if x.size < 2:
        return weights, np.zeros(edges.size - 1, dtype=bool)
    cuts = np.union1d(x, edges[(edges > x[0]) & (edges < x[-1])])
    step, middle = np.diff(cuts), 0.5 * (cuts[1:] + cuts[:-1])
    which = np.searchsorted(edges, middle) - 1
    left = np.searchsorted(x, middle) - 1
    inside = (which >= 0) & (which < len(weights))
    step, middle, which, left = (a[inside] for a in (step, middle, which, left))
    gap = x[left + 1] - x[left]
    right = (middle - x[left]) / gap
    width = np.diff(edges)
    for points, share in ((left, 1.0 - right), (left + 1, right)):
        np.add.at(weights, (which, order[points]), step * share / width[which])
    widest = np.full(len(weights), np.inf)
    full = (edges[:-1] >= x[0] - 1e-9) & (edges[1:] <= x[-1] + 1e-9)
    widest[full] = 0.0
    np.maximum.at(widest, which, gap)
    covered = widest <= width * (1.0 + 1e-9)
    weights[~covered] = 0.0
    return weights, covered


def channels(emulator, spectrum=False):
    """Typical ln emission in the channels of a network, and the emulator's own errors there.

    Parameters
    ----------
    emulator : DustEmulator
        Unrestricted.
    spectrum : bool
        Bins of a spectrum instead of bands.

    Returns
    -------
    centre, error : ndarray, shape (n,)
    """
    nwave = emulator.wavelengths.size
    mean = emulator.net.mean + LN10 * emulator.bounds[0].mean()
    if not spectrum:
        return mean[nwave:], emulator.band_error
    weights, _ = bin_weights(emulator.wavelengths, emulator.wavelengths)
    return np.log(weights @ np.exp(mean[:nwave])), weights @ emulator.spectrum_error


def ln_channels(emulator, theta, spectrum=False):
    """ln emission of models in the channels of a network, shape (n, nchannel).

    `theta`, shape (n, 3), holds log10 parameters, which are not checked.
    """
    if not spectrum:
        return emulator.ln_photometry(theta)
    weights, _ = bin_weights(emulator.wavelengths, emulator.wavelengths)
    return np.log(np.exp(emulator.ln_spectrum(theta)) @ weights.T)


def prior_spread(emulator):
    """Standard deviations of log10 parameters that are uniform in the box, shape (3,)."""
    return np.ptp(emulator.bounds, axis=1) / np.sqrt(12.0)


def network_inputs(centre, flux, sigma, given):
    """What an inverse network reads.

    Parameters
    ----------
    centre : ndarray, shape (nchannel,)
        See `channels`: differences from it carry U and the colours.
    flux, sigma : ndarray, shape (n, nchannel)
        W/Hz/kg; anything where not `given`.
    given : ndarray of bool, shape (n, nchannel)

    Returns
    -------
    inputs : ndarray, shape (n, 2 nchannel + 1)
        Colours: each channel less their mean; how well it is known, 0.5 to 1.5; the mean.
        Channels that are not used are 0. A network left to find colours among nine decades
        of brightness and any choice of bands is coarse.
    used : ndarray of bool, shape (n, nchannel)
        Channels that are given, positive, known to 30 %, and not `FAINTEST` of the brightest.
    """
    used = given & (flux > 0.0) & (sigma <= ERROR_RANGE[1] * flux)
    used &= flux >= FAINTEST * np.where(used, flux, 0.0).max(axis=1, keepdims=True)
    flux = np.where(used, flux, 1.0)
    shape = np.where(used, np.log(flux) - centre, 0.0)
    mean = shape.sum(axis=1, keepdims=True) / used.sum(axis=1, keepdims=True).clip(min=1)
    colours = np.where(used, (shape - mean) / 2.0, 0.0)
    lo, hi = np.log(ERROR_RANGE)
    noise = (np.log(np.clip(sigma / flux, *ERROR_RANGE)) - hi) / (lo - hi)
    inputs = np.concatenate([colours, np.where(used, 0.5 + noise, 0.0), mean / 6.0], axis=1)
    return inputs, used


def estimate(emulator, values, errors, bands=None, wavelengths=None):
    """Parameters and uncertainties by one pass of an inverse network, for a known dust mass.

    Of a spectrum, a point with a huge error takes its whole bin with it: leave such points
    out. It is read as unresolved, which holds for a resolution of 120 or more.

    Parameters
    ----------
    emulator : DustEmulator
        Unrestricted, with inverse networks.
    values, errors : array_like, shape (..., n)
        W/Hz/kg. Bands, or bins of a spectrum, that are not positive, known worse than to
        30 %, or a 1e5th of the brightest are left out.
    bands : sequence of str, optional
        Names of n bands; give these or `wavelengths`.
    wavelengths : array_like, shape (n,), optional
        micron, of a source at rest, in any order.

    Returns
    -------
    mean, sigma : ndarray, shape (..., 3)
        log10 of U, tau/yr and a_min/nm, and their standard deviations. Of several sources,
        NaN for those that nothing can be said of.

    Raises
    ------
    DataError
        Also for a single source without a usable channel, or three times off any model.
    FilterError, RangeError
    """
    if (bands is None) == (wavelengths is None):
        raise DataError("Give the bands of the data, or their wavelengths, and not both.")
    spectrum = bands is None
    net = emulator.spectrum_inverse if spectrum else emulator.inverse
    if net is None:
        raise DataError(
            f"Dust emulator {emulator.name!r} holds no inverse network for "
            f"{'spectra' if spectrum else 'bands'}; load a whole file that does, or sample the "
            "posterior (--method posterior)."
        )
    centre, _ = channels(emulator, spectrum)
    if spectrum:
        where = emulator.check_wavelengths(wavelengths)
        weights, given = bin_weights(emulator.wavelengths, where)
    else:
        index = emulator.band_index(bands)
        weights = np.zeros((centre.size, index.size))
        weights[index, np.arange(index.size)] = 1.0
        given = weights.any(axis=1)
    n = weights.shape[1]
    values, errors = (np.asarray(v, dtype=float) for v in (values, errors))
    if n == 0 or values.shape[-1:] != (n,) or errors.shape[-1:] not in ((n,), ()):
        raise DataError(
            f"{n} points need as many values and errors; got shapes {values.shape} and "
            f"{errors.shape}."
        )
    values, errors = np.broadcast_arrays(values, errors)
    if not (np.isfinite(values).all() and np.isfinite(errors).all() and (errors >= 0).all()):
        raise DataError("Values must be finite, and errors finite and not negative.")
    if not given.any():
        raise RangeError(
            "The spectrum covers no bin that the inverse network reads, or its points are too far "
            "apart; sample the posterior (--method posterior)."
        )
    flux = values.reshape(-1, n) @ weights.T
    sigma = np.sqrt(errors.reshape(-1, n) ** 2 @ (weights**2).T)
    inputs, used = network_inputs(centre, flux, sigma, given)
    out = net(inputs)
    mean = np.clip(out[:, :3], *emulator.bounds.T)
    spread = np.log(prior_spread(emulator))
    width = np.exp(np.clip(out[:, 3:] - spread, *LOG_SIGMA) + spread)
    some = used.any(axis=1)
    like = _like_the_model(emulator, mean, flux, used, spectrum)
    if values.ndim == 1 and not some[0]:
        raise DataError(
            f"No {'bin' if spectrum else 'band'} is measured to {100 * ERROR_RANGE[1]:.0f} %, the "
            "worst that the inverse network was trained for; sample the posterior."
        )
    if values.ndim == 1 and not like[0]:
        raise DataError(
            f"The data are {MISFIT:g} times or more off the model that the inverse network finds; "
            "check their unit, the dust mass and the distance, or sample the posterior."
        )
    answered = (some & like)[:, None]
    shape = (*values.shape[:-1], 3)
    return tuple(np.where(answered, a, np.nan).reshape(shape) for a in (mean, width))


def _like_the_model(emulator, theta, flux, used, spectrum):
    """Whether data are as bright as the model of log10 parameters, roughly, (n,)."""
    model = np.exp(ln_channels(emulator, theta, spectrum))
    off = np.abs(np.log(np.where(used, flux / model, 1.0)))
    return off.sum(axis=1) <= np.log(MISFIT) * used.sum(axis=1)
