"""Prospector 2 (its main branch): what is used of it elsewhere, and its Observations as ours."""

import copy
import json

import numpy as np
from prospect.fitting import lnprobfn
from prospect.io.write_results import write_hdf5 as _write_hdf5
from prospect.models import SpecModel
from prospect.observation import Observation, Photometry, Spectrum
from sedpy.observate import FilterSet
from sedpy.smoothing import smoothspec

from ..errors import DataError, ModelMismatchError
from ..observe.gridded import GriddedBands
from ..observe.observation import Observed, filter_list, plain_fluxes
from .v2_noise import WEIGHTED, described, row_likelihood, say_once, used
from .v2_operators import bands, operators

# Used elsewhere from here, so that one module follows Prospector's changes.
__all__ = [
    "SpecModel", "bands", "lnprobfn", "operators", "row_likelihood", "smoothspec", "used"
]  # fmt: skip

# What else of an obs Photometry may carry, for us alone.
_OURS = (
    "upper_limits", "maggies_covariance", "maggies_unc_observed", "maggies_inflated",
    "maggies_unc_inflated", "emulator", "truth", "notes",
)  # fmt: skip


def observed(obs, noise=(None, None), likelihood=None):
    """Prospector's data as ours.

    Parameters
    ----------
    obs : list of Observation, Observation, dict or Observed
        A dictionary is one of Prospector 1.4.
    noise : (None, None)
        Noise models belong to their Observations.
    likelihood : {None, "prospector2"}
        Gaussian errors as they are, or as Prospector 2's ``NoiseModel`` has them: chi-squared
        times ln(2 pi).

    Returns
    -------
    Observed
        ``native`` are the Observations that hold data. Their masks become arrays, without what
        is not finite, as by ``rectify``.

    Raises
    ------
    ModelMismatchError
        For noise models beside the Observations, and unknown likelihoods.
    DataError
        If `obs` is something else.
    """
    if isinstance(obs, Observed):
        return obs
    if any(n is not None for n in noise or ()):
        raise ModelMismatchError(
            "noise is an argument of Prospector 1.4; in Prospector 2 a noise model belongs to "
            "its data: Photometry(..., noise=...)."
        )
    if likelihood not in (None, WEIGHTED):
        raise ModelMismatchError(
            f"likelihood = {likelihood!r} is not known; give None or {WEIGHTED!r}."
        )
    if hasattr(obs, "keys"):
        observations, items = _from_dictionary(obs), dict(obs)
    else:
        observations, items = [obs] if isinstance(obs, Observation) else list(obs), {}
        if not all(isinstance(o, Observation) for o in observations):
            raise DataError(
                f"obs is a {type(obs).__name__}; give a list of prospect.observation's Photometry, "
                "Spectrum and Lines, or a dictionary."
            )
    native = [o for o in observations if np.ndim(o.flux) == 1]
    for o in native:
        o.flux = plain_fluxes(o.flux, f"flux of {o.name}")
        o.uncertainty = plain_fluxes(o.uncertainty, f"uncertainty of {o.name}")
        o.mask = used(o)
        if o.kind == "lines" and not hasattr(o, "resolution"):
            # Which SpecModel asks for where lines are not in the spectrum.
            o.resolution = None
        if not o.mask.any():
            raise DataError(f"All data of {o.name} are masked; unmask some or leave it out.")
    phot = [o for o in native if o.kind == "photometry"]
    spectra = [o for o in native if o.kind == "spectrum"]
    if not items:
        items = _items(phot, spectra)
    items["likelihood"] = likelihood
    if likelihood is None:
        say_once()
    sets, first = [], 0
    for o in phot:
        sets.append((slice(first, first + o.ndata), described(o.noise, likelihood)))
        first += o.ndata
    others = [o for o in native if o not in phot and o not in spectra] + spectra[1:]
    if others:
        items["other_data"] = np.concatenate(
            [np.asarray(v, dtype=float) for o in others for v in (o.flux, o.uncertainty)]
        )
    noise = [described(o.noise, likelihood) for o in native]
    spectral = noise[native.index(spectra[0])] if spectra else None
    return Observed(items, native, sets, spectral, noise)


def _from_dictionary(obs):
    """Observations of an obs of Prospector 1.4; curves stay as they are, not resampled."""
    out = []
    if obs.get("spectrum") is not None:
        out.append(
            Spectrum(
                wavelength=obs["wavelength"], flux=obs["spectrum"], uncertainty=obs["unc"],
                mask=_or_all(obs.get("mask")), name="spectrum",
            )
        )  # fmt: skip
    if obs.get("maggies") is not None:
        phot = Photometry(
            flux=obs["maggies"], uncertainty=obs["maggies_unc"],
            mask=_or_all(obs.get("phot_mask")), name="photometry",
        )  # fmt: skip
        phot.filters = phot.filterset = filter_list(obs["filters"])
        phot.filternames = [f.name for f in phot.filters]
        out.append(phot)
    return out


def _or_all(mask):
    return slice(None) if mask is None else mask


def _items(phot, spectra):
    """Photometry and spectrum by the names of a dictionary."""
    items = {}
    if phot:
        items = {
            "filters": [f for o in phot for f in o.filters],
            "maggies": np.concatenate([np.asarray(o.flux, dtype=float) for o in phot]),
            "maggies_unc": np.concatenate([np.asarray(o.uncertainty, dtype=float) for o in phot]),
            "phot_mask": np.concatenate([o.mask for o in phot]),
        }
        if len(phot) == 1:
            items |= {k: getattr(phot[0], k) for k in _OURS if hasattr(phot[0], k)}
    if spectra:
        o = spectra[0]
        items |= {
            "wavelength": o.wavelength, "spectrum": o.flux, "unc": o.uncertainty, "mask": o.mask
        }  # fmt: skip
    return items


def renewed(obs, items):
    """The user's data with the photometry of `items`: of their kind, as a copy."""
    if hasattr(obs, "keys"):
        return dict(items)
    out = []
    for o in [obs] if isinstance(obs, Observation) else obs:
        if o.kind == "photometry" and np.ndim(o.flux) == 1:
            o = copy.copy(o)
            o.flux, o.uncertainty, o.mask = (
                items[k] for k in ("maggies", "maggies_unc", "phot_mask")
            )
            for name in _OURS:
                if name in items:
                    setattr(o, name, items[name])
                elif hasattr(o, name):
                    delattr(o, name)
        out.append(o)
    if sum(o.kind == "photometry" for o in out) > 1:
        raise DataError(
            "There are several sets of photometry; give one Photometry to add an emulator's errors."
        )
    return out


# ---- models ----------------------------------------------------------------------------


def prepared(data):
    """What `predict` is given: Observations that hold data."""
    return data.native


def predict(model, theta, observations, sps):
    """Spectrum (npix,) or None, photometry (nfilter,) and surviving mass fraction of a vector."""
    values, mfrac = model.predict(theta, observations=observations, sps=sps)
    kinds = [o.kind for o in observations]
    phot = [v for v, kind in zip(values, kinds, strict=True) if kind == "photometry"]
    spectra = [v for v, kind in zip(values, kinds, strict=True) if kind == "spectrum"]
    maggies = np.concatenate(phot) if phot else np.zeros(0)
    return (spectra[0] if spectra else None), maggies, mfrac


def pseudo_projector(filters, wave):
    """How `SpecModel` takes photometry of a spectrum: with the curves of a FilterSet."""
    return GriddedBands([FilterSet([f.name for f in filters])], wave)


# Whether `SpecModel` smooths the spectrum before it takes the photometry.
SMOOTHED_PHOTOMETRY = True


class PhotometryModel(SpecModel):
    """`SpecModel` whose photometry comes from ``sps.photometry``, without a spectrum."""

    def predict(self, theta, observations=None, sps=None, **extras):
        """Photometry of a parameter vector.

        Returns
        -------
        list of ndarray
            Fluxes (nband,) in maggies of each Photometry.
        mfrac : float

        Raises
        ------
        ModelMismatchError
            If there are other data than photometry.
        """
        if any(o.kind != "photometry" for o in observations):
            raise ModelMismatchError(
                f"{type(self).__name__} fits photometry only; leave other Observations out."
            )
        self.set_parameters(theta)
        values = [sps.photometry(o.filters, **self.params) for o in observations]
        return [maggies for maggies, _ in values], values[-1][1]


# ---- fits and files --------------------------------------------------------------------


def complete(obs, data):
    """Put into the user's data what Prospector's ``fit_model`` puts there."""
    if hasattr(obs, "keys"):
        obs.update(data)
        return
    for o in data.native:
        o.rectify()


def output(results, seconds):
    """What `prospect.fitting.fit_model` returns of a nested sampling run.

    The weights sum to one, so that files hold them as numbers: dynesty's own overflow. The
    results of dynesty are there as ``return_sampler_result_object`` asks for.
    """
    sampling = {
        "points": results["samples"],
        "log_weight": results["logwt"] - results["logz"][-1],
        "log_like": results["logl"],
        "duration": seconds,
        "sampler_result_object": results,
    }
    return {"optimization": None, "sampling": sampling}


def nested_run(output):
    """Results of dynesty and seconds of an output of `fit_model`, ours or Prospector's."""
    sampling = output["sampling"] if "sampling" in output else output
    found = (sampling or {}).get("sampler_result_object")
    if found is None:
        raise DataError(
            "The output holds no results of dynesty; call Prospector's fit_model with "
            "nested_sampler='dynesty', return_sampler_result_object=True."
        )
    return getattr(found, "results", found), sampling["duration"]


def write_hdf5(handle, run_params, model, data, native, results, seconds, sps):
    """Prospector 2's own file, and what files of 1.4 hold beside.

    Parameters
    ----------
    data : dict
        Plain arrays.
    native : list of Observation
    """
    for name, value in data.items():
        if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
            handle.create_dataset(f"obs/{name}", data=value)
    best = results["samples"][np.argmax(results["logl"])]
    handle.create_dataset("bestfit/photometry", data=predict(model, best, native, sps)[1])
    handle.create_dataset("bestfit/parameter", data=best)
    for name in ("logz", "logzerr"):
        handle.create_dataset(f"sampling/{name}", data=results[name])
    handle.create_dataset("sampling/lnlikelihood", data=results["logl"])
    handle["sampling"].attrs["theta_labels"] = json.dumps(list(model.theta_labels()))
    run_params = {**run_params, "nested_sampler": "dynesty"}
    _write_hdf5(
        handle, run_params, model, [_writable(o) for o in native],
        output(results, seconds)["sampling"], write_model_params=False,
    )  # fmt: skip


def _writable(o):
    """Without the scalar response that a prediction leaves, which its writer takes no length of."""
    if np.ndim(getattr(o, "response", None)) or not hasattr(o, "response"):
        return o
    o = copy.copy(o)
    o.response = None
    return o


def noise_of_file(build_noise, obs):
    """A parameter file's data with their noise models, and no others."""
    return (obs if build_noise is None else build_noise(obs)), (None, None)
