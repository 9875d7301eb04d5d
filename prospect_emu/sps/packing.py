"""Positive spectra as 16-bit logarithms.

A code says how far, in decades, a value lies below its spectrum's largest. Steps are
finest at the top and grow with depth: half a step is 7e-5 of the value at the top, 2e-4
four decades down and 9e-4 ten down; what is fainter than twenty becomes zero. Light at
long wavelengths is tilted first, so that Rayleigh-Jeans tails stay near the top.
"""

import numpy as np

DECADES = 20.0
_SCALE = 4.0
_TOP_CODE = 65535
_STEP = (1.0 - np.exp(-DECADES / _SCALE)) / (_TOP_CODE - 1)
# log10 of a value relative to the largest, by code; code 0 is zero.
LOG = np.concatenate([[-np.inf], _SCALE * np.log1p(-_STEP * np.arange(_TOP_CODE - 1, -1, -1.0))])


def tilt_stars(wave):
    """What spectra of stars are multiplied by before packing, (nwave,): from 1 um on."""
    return np.maximum(wave / 1e4, 1.0) ** 2


def tilt_dust(wave):
    """Likewise of dust emission, on both sides of 100 um."""
    x = wave / 1e6
    return np.maximum(x, 1.0) ** 3 * np.minimum(x, 1.0) ** -1.5


def pack(values):
    """Codes (..., nwave) of spectra and log10 of each spectrum's largest value (...).

    Negative values become zero.
    """
    with np.errstate(divide="ignore"):
        log = np.log10(np.maximum(values, 0.0))
    top = log.max(axis=-1)
    if not np.isfinite(top).all():
        raise ValueError("a spectrum is zero everywhere; there is nothing to pack")
    depth = top[..., None] - log
    code = _TOP_CODE - np.rint((1.0 - np.exp(-depth / _SCALE)) / _STEP)
    return np.where(depth < DECADES, code, 0.0).astype(np.uint16), top


def unpack(codes, top, dtype=np.float32):
    """Inverse of `pack`."""
    return (10.0**LOG).astype(dtype)[codes] * (10.0 ** top[..., None]).astype(dtype)


def unpack_log(codes, top, floor, dtype=np.float32):
    """log10 of packed spectra, `floor` where they are zero."""
    log = LOG.astype(dtype)[codes] + top[..., None].astype(dtype)
    return np.where(codes == 0, dtype(floor), log)
