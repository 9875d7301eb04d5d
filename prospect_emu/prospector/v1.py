"""Prospector 1.4: what is used of it elsewhere, and its obs dictionaries as our `Observed`."""

import numpy as np
from prospect.fitting import lnprobfn
from prospect.io.write_results import write_hdf5 as _write_hdf5
from prospect.likelihood import NoiseModel
from prospect.likelihood.kernels import Uncorrelated
from prospect.models import PolySpecModel, SpecModel
from prospect.utils.obsutils import fix_obs
from prospect.utils.smoothing import smoothspec

from ..errors import ModelMismatchError
from ..observe.gridded import GriddedBands, GriddedSamples
from ..observe.observation import Noise, Observed, filter_list
from ..observe.photometry import FilterProjector

# Used elsewhere from here, so that one module follows Prospector's changes.
__all__ = ["PolySpecModel", "SpecModel", "lnprobfn", "smoothspec"]

# What its noise models weigh kernels with, and ours.
_WEIGHTS = {"phot": {"phot_unc": "unc", "phot": "flux"}, "spec": {"unc": "unc"}}
# Where a model has f_outlier_phot alone.
_NSIGMA_OUTLIER = 10.0
_NUMBERS = ("maggies", "maggies_unc", "spectrum", "unc")
_OTHER_PATH = "use prospect.fitting.fit_model for it"


def observed(obs, noise=(None, None), likelihood=None):
    """Prospector's data as ours.

    Parameters
    ----------
    obs : dict or Observed
    noise : (NoiseModel or None, NoiseModel or None)
        As in `prospect.fitting.fit_model`.
    likelihood : None
        Another is Prospector 2's.

    Returns
    -------
    Observed
        ``native`` is the dictionary itself and the noise models.

    Raises
    ------
    ModelMismatchError
        If Prospector 2 is asked for.
    """
    if isinstance(obs, Observed):
        return obs
    if likelihood is not None or not hasattr(obs, "keys"):
        what = f"likelihood={likelihood!r}" if likelihood is not None else f"obs is {obs!r}, which"
        raise ModelMismatchError(
            f"{what} is for Prospector 2, but Prospector 1.4 is installed, with a dictionary obs; "
            "install astro-prospector 2, or give the dictionary alone."
        )
    spectral, phot = noise or (None, None)
    sets = [(slice(None), _noise(phot, "phot"))]
    some = spectral is not None or obs.get("spectrum") is not None
    return Observed(obs, (obs, noise), sets, _noise(spectral, "spec") if some else None)


def _noise(noise, kind):
    outliers = f"f_outlier_{kind}", f"nsigma_outlier_{kind}", _NSIGMA_OUTLIER
    if noise is None:
        return Noise((), *outliers)
    known, kernels = _WEIGHTS[kind], getattr(noise, "kernels", ())
    if type(noise) is not NoiseModel or not kernels:
        why = (
            f"The noise model is a {type(noise).__name__} of {len(kernels)} kernels; compiled are "
            f"NoiseModels with kernels Uncorrelated: {_OTHER_PATH}."
        )
        return Noise((), *outliers, why=why)
    terms = []
    for kernel, weight in zip(kernels, noise.weight_names, strict=True):
        if type(kernel) is not Uncorrelated or weight not in (None, *known):
            why = (
                f"The noise model has a kernel {type(kernel).__name__} weighted by {weight}; "
                f"compiled are Uncorrelated ones weighted by {', '.join(known)} or None: "
                f"{_OTHER_PATH}."
            )
            return Noise((), *outliers, why=why)
        terms.append((kernel.param_alias["amplitude"], known.get(weight)))
    return Noise(tuple(terms), *outliers)


def prepared(data):
    """What `predict` is given, with all that Prospector looks for."""
    filters = data.get("filters")
    if filters is not None and not hasattr(filters, "trans"):
        filters = filter_list(filters)
    # Scripts write None for what was not observed.
    objects = [k for k, v in data.items() if k in _NUMBERS and np.asarray(v).dtype == object]
    data = {**data, **{k: np.asarray(data[k], dtype=float) for k in objects if data[k] is not None}}
    return fix_obs({"wavelength": None, "spectrum": None, **data, "filters": filters})


def bands(model, data, chosen):
    """What is compiled for the photometry: filters of the bands that are `chosen`.

    Of a FilterSet, a function of wavelengths and of names that vary: it has a grid of its own.
    """
    filters = data.get("filters")
    if hasattr(filters, "trans"):
        return lambda wave, varies: GriddedSamples(GriddedBands([filters], wave, chosen))
    return [f for f, some in zip(filter_list(data.get("filters")), chosen, strict=True) if some]


def predict(model, theta, obs, sps):
    """Spectrum (npix,), photometry (nfilter,) and surviving mass fraction of a vector."""
    return model.predict(theta, obs=obs, sps=sps)


def row_likelihood(model, data, sps):
    """Prospector's own likelihood: a function of one vector."""
    obs, noise = prepared(data), data.native[1]

    def log_likelihood(theta):
        return lnprobfn(theta, model=model, obs=obs, sps=sps, noise=noise, nested=True)

    return log_likelihood


def complete(obs, data):
    """Put into the user's obs what was resolved, and what `prospect.fitting.fit_model` adds."""
    obs.update(data)
    fix_obs(obs)


def output(results, seconds):
    """What `prospect.fitting.fit_model` returns of a nested sampling run."""
    return {"optimization": (None, 0.0), "sampling": (results, seconds)}


def nested_run(output):
    """Results of dynesty and seconds of an output of `fit_model`, ours or Prospector's."""
    return output.get("sampling", (None, 0.0)) if isinstance(output, dict) else (output, 0.0)


def write_hdf5(handle, run_params, model, data, native, results, seconds, sps):
    """Prospector's own file, without pickles; `data` as plain arrays."""
    _write_hdf5(
        handle, run_params, model, data, sampler=results, tsample=seconds, sps=sps,
        write_model_params=False,
    )  # fmt: skip


def renewed(obs, items):
    """The user's data with the photometry of `items`, as a copy."""
    return dict(items)


def noise_of_file(build_noise, obs):
    """A parameter file's data, and its noise models."""
    return obs, ((None, None) if build_noise is None else build_noise())


def pseudo_projector(filters, wave):
    """How `SpecModel` takes photometry of a spectrum."""
    return FilterProjector(filters, wave, quadrature="sedpy")


# Whether `SpecModel` smooths the spectrum before it takes the photometry.
SMOOTHED_PHOTOMETRY = False


class PhotometryModel(SpecModel):
    """`SpecModel` whose photometry comes from ``sps.photometry``, without a spectrum."""

    def predict(self, theta, obs=None, sps=None, sigma_spec=None, **extras):
        """Photometry of a parameter vector.

        Returns
        -------
        spectrum : ndarray
            NaN: not emulated.
        maggies : ndarray, shape (nband,)
        mfrac : float

        Raises
        ------
        ModelMismatchError
            If `obs` holds a spectrum.
        """
        if obs.get("spectrum") is not None:
            raise ModelMismatchError(
                f"{type(self).__name__} fits photometry only; set obs['spectrum'] to None."
            )
        self.set_parameters(theta)
        maggies, mfrac = sps.photometry(obs["filters"], **self.params)
        return sps.no_spectrum, maggies, mfrac
