"""The HDF5 file of a result, which Prospector opens too."""

import io
import json
import warnings
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np

from ..errors import DataError, OutputError
from ..files import check_writable, digest, write_atomic
from ..networks.vector import PARAMETERS
from ..prospector.version import adapter
from .certificate import Certificate
from .description import describe_model
from .fluxes import Photometry, no_photometry, plain_obs
from .likelihood import upper_limits

GROUP = "prospect_emu"
SCHEMA = 1
# What Prospector's get_sps and get_model execute, which otherwise end without a hint.
_NO_PARAMETER_FILE = (
    "raise RuntimeError('This file of prospect_emu holds no parameter file: build model and sps as "
    'for the fit, or pass settings={"param_file": FILE} to FitResult.from_run before writing.\')'
)


def write(result, path, overwrite=False):
    """Write a result; see `FitResult.write`."""
    if result._run is None:
        raise OutputError(
            "A result that was read from a file holds no sampler state to write; copy the "
            "file instead."
        )
    path = Path(path)
    check_writable(path, overwrite)
    results, seconds, model, obs, sps = result._run
    run_params = {
        **result.info["settings"],
        "seed": result.info["seed"],
        "sps_libraries": result.info["libraries"],
    }
    # Prospector predicts the best sample: no transform may read the vector before.
    model.set_parameters(result.best)
    # Made in memory: after a write that failed on a full disk, the HDF5 library can
    # neither write nor drop what it still holds, and brings down the process later.
    memory = io.BytesIO()
    with warnings.catch_warnings(), h5py.File(memory, "w") as f:
        # Prospector misses the parameter file of its own scripts.
        warnings.simplefilter("ignore", RuntimeWarning)
        _write_group(f.create_group(GROUP), result, model)
        with _prior_of(result, model):
            # Where the emulator's error follows the vector, that of the best sample.
            data = plain_obs(obs), obs.native
            if len(result.photometry.bands):
                data[0]["maggies_unc"] = result.photometry.unc
            adapter.write_hdf5(f, run_params, model, *data, results, seconds, sps)
    with h5py.File(memory, "r+") as f:  # which Prospector has closed
        # A transform that reads its own last value makes each prediction another one.
        if "bestfit/photometry" in f and len(result.photometry.best):
            f["bestfit/photometry"][...] = result.photometry.best
        f["sampling/lnprobability"][...] = result.log_posterior
    if "param_file" not in run_params:
        with h5py.File(memory, "r+") as f:  # which Prospector has closed
            f.attrs["paramfile_text"] = json.dumps(_NO_PARAMETER_FILE)
    _save(memory, path)


@contextmanager
def _prior_of(result, model):
    """Let the model give the prior density that the result has.

    Prospector's own fails for some joint priors of many samples.
    """
    prior = result.log_posterior - result.log_likelihood
    model.prior_product = lambda theta, **extras: prior
    try:
        yield
    finally:
        del model.prior_product


def _save(memory, path):
    try:
        write_atomic(path, memory.getbuffer())
    except OSError as err:
        raise OutputError(
            f"Writing {path} failed ({err}); free space or choose another folder."
        ) from err


def _write_group(group, result, model):
    constant, varying = {}, []
    for i, name in enumerate(PARAMETERS):
        if name in result.parameters or result.vectors is None:
            continue
        if np.ptp(result.vectors[:, i]) == 0:
            constant[name] = float(result.vectors[0, i])
        else:
            varying.append(name)
            group.create_dataset(f"vectors/{name}", data=result.vectors[:, i])
    if result.certificate is not None:
        for name, array in result.certificate.arrays.items():
            group.create_dataset(f"certificate/{name}", data=array)
    for name, values in {**(result.quantities or {}), **_history(result)}.items():
        group.create_dataset(f"quantities/{name}", data=values)
    for name, values in _spectra(result).items():
        group.create_dataset(name, data=values)
    for name, values in (result.restframe or {}).items():
        group.create_dataset(f"restframe/{name}", data=values)
    group.create_dataset("mfrac", data=result.mfrac)
    group.create_dataset("photometry/wavelength_um", data=result.photometry.wavelength)
    group.create_dataset("photometry/predicted", data=result.photometry.predicted)
    attributes = {
        "schema": SCHEMA,
        "parameters": list(result.parameters),
        "bands": list(result.photometry.bands),
        "constant": constant,
        "varying": varying,
        **({} if result.vectors is not None else {"quantities": list(result.quantities)}),
        **({} if result.restframe is None else {"restframe": list(result.restframe)}),
        "truth": result.truth,
        "info": result.info,
        "model": describe_model(model),
    }
    if result.certificate is not None:
        attributes["certificate"] = result.certificate.numbers
    _describe(group, result, attributes)


def _describe(group, result, attributes):
    attributes = json.loads(json.dumps(attributes))  # as it will be read
    for key, value in attributes.items():
        group.attrs[key] = json.dumps(value)
    group.attrs["sha256"] = json.dumps(digest(_checked_arrays(result), attributes))


def add_certificate(result, path):
    """Put the certificate, if any, and `info` of a result into the file that it was read from.

    Raises
    ------
    OutputError
        If the file cannot be written; it then holds what it held before.
    """
    path = Path(path)
    memory = io.BytesIO(path.read_bytes())
    with h5py.File(memory, "r+") as f:
        group = f[GROUP]
        attributes = {k: json.loads(v) for k, v in group.attrs.items() if k != "sha256"}
        attributes["info"] = result.info
        if result.certificate is not None:
            attributes["certificate"] = result.certificate.numbers
            for name, array in result.certificate.arrays.items():
                group.create_dataset(f"certificate/{name}", data=array)
        _describe(group, result, attributes)
    _save(memory, path)


def _history(result):
    return {f"history/{k}": v for k, v in (result.history or {}).items()}


def _spectra(result):
    both = {"spectrum": result.spectrum or {}, "sed": result.sed or {}}
    return {f"{kind}/{k}": v for kind, arrays in both.items() for k, v in arrays.items()}


def _checked_arrays(result):
    certificate = {} if result.certificate is None else result.certificate.arrays
    return {
        **{f"certificate/{k}": v for k, v in certificate.items()},
        "chain": result.samples,
        "weights": result.weights,
        **({"vectors": result.vectors} if result.vectors is not None else result.quantities),
        **_history(result),
        **_spectra(result),
        **{f"restframe/{k}": v for k, v in (result.restframe or {}).items()},
        "logz": np.array([result.logz, result.logz_err]),
        "best": result.photometry.best,
        "mask": result.photometry.mask,
        "lnlikelihood": result.log_likelihood,
        "lnprobability": result.log_posterior,
        "mfrac": result.mfrac,
        "maggies": result.photometry.maggies,
        "maggies_unc": result.photometry.unc,
        "predicted": result.photometry.predicted,
    }


def read(path):
    """Fields of a result as it was written; see `FitResult.read`."""
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path} does not exist; check the path.")
    try:
        with h5py.File(path, "r") as f:
            if GROUP not in f:
                raise DataError(
                    f"{path} was not written by prospect_emu; open it with "
                    "prospect.io.read_results.results_from."
                )
            _check_sizes(f, path)
            result, stored, attributes = _from_file(f, path)
    except (OSError, KeyError, ValueError, TypeError, RuntimeError) as err:
        raise DataError(
            f"{path} is not a complete result file ({str(err).splitlines()[0]}); it is "
            "truncated or damaged: copy it again or repeat the fit."
        ) from err
    if digest(_checked_arrays(result), attributes) != stored:
        raise DataError(f"{path} fails its checksum; copy it again or repeat the fit.")
    return vars(result)


def _check_sizes(f, path):
    """Refuse arrays whose declared size is far larger than the file: reading takes that memory."""
    declared, size = [], path.stat().st_size
    f.visititems(lambda name, item: declared.append(getattr(item, "nbytes", 0)))
    if sum(declared) > 100 * size:
        raise DataError(
            f"{path} claims to hold {sum(declared) / 1e9:.3g} GB in a file of {size / 1e9:.2g} GB; "
            "it is damaged: copy it again or repeat the fit."
        )


def _from_file(f, path):
    group, sampling = f[GROUP], f["sampling"]
    stored = {key: json.loads(value) for key, value in group.attrs.items()}
    if stored["schema"] != SCHEMA:
        raise DataError(
            f"{path} has schema {stored['schema']}, this version reads schema {SCHEMA}; "
            "update prospect_emu."
        )
    parameters = tuple(stored["parameters"])
    # Prospector 2 has a structured array by the other name.
    samples = sampling["unstructured_chain" if "unstructured_chain" in sampling else "chain"][()]
    vectors = quantities = history = None
    if "quantities" in stored:
        # Of a model other than that of 18 parameters.
        quantities = {k: group[f"quantities/{k}"][()] for k in stored["quantities"]}
    else:
        columns = dict(zip(parameters, samples.T, strict=True))
        columns |= {k: np.full(len(samples), v) for k, v in stored["constant"].items()}
        columns |= {k: group[f"vectors/{k}"][()] for k in stored["varying"]}
        vectors = np.stack([columns[name] for name in PARAMETERS], axis=1, dtype=samples.dtype)
    if "quantities/history" in group:
        history = {k: group[f"quantities/history/{k}"][()] for k in ("lookback", "sfr")}
    restframe = {k: group[f"restframe/{k}"][()] for k in stored.get("restframe", ())} or None
    weights = sampling["weights"][()]
    photometry = _photometry(f, stored) if stored["bands"] else no_photometry()
    result = SimpleNamespace(
        parameters=parameters,
        samples=samples,
        weights=weights / weights.sum(),
        log_likelihood=sampling["lnlikelihood"][()],
        log_posterior=sampling["lnprobability"][()],
        vectors=vectors,
        quantities=quantities,
        history=history,
        restframe=restframe,
        mfrac=group["mfrac"][()],
        logz=float(sampling["logz"][-1]),
        logz_err=float(sampling["logzerr"][-1]),
        photometry=photometry,
        truth=stored["truth"],
        info=stored["info"],
        certificate=_read_certificate(group, stored),
        **{
            kind: {k: v[()] for k, v in group[kind].items()} if kind in group else None
            for kind in ("spectrum", "sed")
        },
    )
    return result, stored.pop("sha256"), stored


def _photometry(f, stored):
    group, obs = f[GROUP], f["obs"]
    unc = obs["maggies_unc"][()]
    return Photometry(
        bands=tuple(stored["bands"]),
        wavelength=group["photometry/wavelength_um"][()],
        maggies=obs["maggies"][()],
        unc=unc,
        unc_observed=obs["maggies_unc_observed"][()] if "maggies_unc_observed" in obs else unc,
        mask=obs["phot_mask"][()].astype(bool),
        upper_limits=upper_limits(
            {k: obs[k][()].astype(bool) for k in ("upper_limits",) if k in obs},
            obs["phot_mask"][()].astype(bool),
        ),
        best=f["bestfit/photometry"][()],
        predicted=group["photometry/predicted"][()],
    )


def _read_certificate(group, stored):
    numbers = stored.get("certificate")
    if numbers is None:
        return None
    return Certificate(**numbers, **{k: a[()] for k, a in group["certificate"].items()})
