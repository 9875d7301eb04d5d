"""What Prospector 2's `SpecModel` does to a spectrum, as matrices: bands, pixels and lines."""

from dataclasses import dataclass

import numpy as np
from prospect.models import SpecModel
from prospect.observation import PolyOptCal, Spectrum
from scipy.sparse import csr_matrix

from ..cosmology import LIGHTSPEED, MAGGIE
from ..errors import NotCompiledError
from ..observe.gridded import GriddedBands, GriddedSamples
from ..observe.smoothing import smoothing_matrix

# What acts on a whole spectrum before anything sees it, and what on pixels and lines.
_SMOOTHING = ("sigma_smooth", "dla_logNh", "dla_redshift", "igm_damping")
_OF_PIXELS = (
    "zred", "eline_sigma", "eline_delta_zred", "linespec_scaling", "marginalize_elines",
    "elines_to_ignore",
)  # fmt: skip
_SMOOTHED: dict = {}
# Of what a sample keeps of itself: rounding of Fourier transforms.
_ROUNDING = 1e-11
# Methods that predictions are made by.
_OF_PHOTOMETRY = (
    "predict", "predict_init", "predict_obs", "predict_phot", "nebline_photometry", "flux_norm"
)  # fmt: skip
_OF_SPECTRA = ("predict_spec", "predict_lines", "cache_eline_parameters", "get_eline_gaussians")


@dataclass(frozen=True)
class Prediction:
    """One Observation as it follows from a galaxy's light.

    Attributes
    ----------
    node : ndarray of int, shape (m,)
        Samples of L_nu.
    matrix : ndarray, shape (ndata, m)
    line : ndarray of int, shape (k,)
        Emission lines.
    profiles : ndarray, shape (ndata, k)
        Per luminosity over frequency.
    response : ndarray, shape (ndata,), or None
        What the data are multiplied by.
    polynomial : (int, float) or None
        Order and regularisation of a polynomial that calibrates each prediction.
    """

    node: np.ndarray
    matrix: np.ndarray
    line: np.ndarray
    profiles: np.ndarray
    response: np.ndarray | None = None
    polynomial: tuple | None = None


def bands(model, data, chosen):
    """What is compiled for the photometry of the bands that are `chosen`.

    Returns
    -------
    callable
        Wavelengths (nwave,) of spectra at rest, names that vary, and samples and lines that
        are wanted besides, to `GriddedSamples`.

    Raises
    ------
    NotCompiledError
        If the model's class has photometry of its own.
    """
    sets = [o.filterset for o in data.native if o.kind == "photometry"]
    _check_own(model, _OF_PHOTOMETRY)

    def targets(wave, varies, nodes=(), lines=()):
        shift = np.squeeze(model.params.get("eline_delta_zred", 0.0))
        projector = GriddedBands(sets, wave, chosen, smoothing(model, wave, varies))
        return GriddedSamples(projector, nodes, lines, shift)

    return targets


def _check_own(model, names):
    changed = [k for k in names if getattr(type(model), k) is not getattr(SpecModel, k)]
    if changed:
        raise NotCompiledError(f"{type(model).__name__} has a {changed[0]} of its own")


def _check_fixed(varies, names):
    found = [name for name in names if name in varies]
    if found:
        raise NotCompiledError(f"{found[0]} varies, and with it how Prospector 2 sees a spectrum")


def smoothing(model, wave, varies=()):
    """What `SpecModel` does to a spectrum at rest before anything sees it, as a sparse matrix.

    Broadening by ``sigma_smooth``, 300 km/s where the model does not say, and damped Lyman
    alpha.

    Parameters
    ----------
    model : SpecModel
    wave : ndarray, shape (nwave,)
    varies : collection of str
        Parameters that vary.
    """
    damping = np.any(model.params.get("igm_damping", False))
    damped = damping or "dla_logNh" in model.params
    _check_fixed(varies, _SMOOTHING + ("zred", "igm_factor") * bool(damped))
    own = type(model).losvd_smoothing is SpecModel.losvd_smoothing and not damped
    key = wave.tobytes(), float(np.squeeze(model.params.get("sigma_smooth", 300.0)))
    if own and key in _SMOOTHED:
        return _SMOOTHED[key]
    node, matrix = smoothing_matrix(lambda light: _smooth(model, wave, light), wave, wave.size)
    full = np.zeros((wave.size, wave.size))
    full[:, node] = matrix
    full[np.abs(full) < _ROUNDING] = 0.0
    out = csr_matrix(full)
    if own:
        # A fit and its result ask for the same.
        _SMOOTHED.clear()
        _SMOOTHED[key] = out
    return out


def _smooth(model, wave, light):
    model._zred = model.params.get("zred", 0)
    out = model.losvd_smoothing(wave, light)
    return model.add_damping_wing(wave, model.add_dla(wave, out))


def operators(model, data, sps, varies):
    """Every Observation but photometry as a `Prediction`, None for photometry.

    Raises
    ------
    NotCompiledError
        If something of it is not linear in the light, or varies.
    """
    _check_own(model, _OF_SPECTRA)
    _check_fixed(varies, _OF_PIXELS)
    if np.any(model.params.get("marginalize_elines", False)):
        raise NotCompiledError("marginalize_elines is not compiled")
    out = []
    for o in data.native:
        if o.kind == "photometry":
            out.append(None)
            continue
        # Leaves behind what the model's own methods read.
        model.predict(model.theta, observations=[o], sps=sps)
        if o.kind == "spectrum":
            out.append(_pixels(model, o, varies))
        elif o.kind == "lines":
            out.append(_lines(model, o))
        else:
            raise NotCompiledError(f"data of the kind {o.kind} are not compiled")
    return out


def _pixels(model, o, varies):
    if hasattr(o, "resolution_jitter_parameter"):
        _check_fixed(varies, (o.resolution_jitter_parameter,))
    wave = model._wave

    def see(light):
        light = _smooth(model, wave, light)
        libres = model._library_resolution
        return o.instrumental_smoothing(model.observed_wave(wave), light, libres=libres)

    node, matrix = smoothing_matrix(see, wave, o.wavelength.size)
    mask, line = model._fix_eline_pixelmask, np.zeros(0, dtype=int)
    if mask.any():
        line = np.flatnonzero(model._fix_eline & model._valid_eline)
    profiles = np.zeros((o.wavelength.size, line.size))
    if line.size:
        profiles[mask] = model.get_eline_gaussians(lineidx=line, wave=o.wavelength[mask])
        profiles *= _per_frequency(model, line)
    response, polynomial = _calibration(o)
    return Prediction(node, matrix, line, profiles, response, polynomial)


def _per_frequency(model, line):
    """Of luminosity over frequency, seen as a flux in maggies, to flux in maggies Hz."""
    return LIGHTSPEED / model._eline_wave[line] / (1.0 + model._zred)


def _calibration(o):
    """Constant response, and polynomial."""
    how = type(o).compute_response
    if how is PolyOptCal.compute_response and not o.median_polynomial > 0:
        if o.polynomial_order > 0:
            return None, (int(o.polynomial_order), o.polynomial_regularization)
        return None, None
    if how is Spectrum.compute_response:
        response = 1.0 if o.response is None else np.asarray(o.response, dtype=float)
        return np.broadcast_to(response, o.wavelength.shape), None
    raise NotCompiledError(f"the response of a {type(o).__name__} is not compiled")


def _lines(model, o):
    profile = _per_frequency(model, o.line_ind) * MAGGIE
    profile *= float(np.squeeze(model.params.get("linespec_scaling", 1.0)))
    none = np.zeros(0, dtype=int)
    return Prediction(none, np.zeros((o.line_ind.size, 0)), o.line_ind, np.diag(profile))
