"""One fit of a campaign, wherever it runs: photometry in, one file out.

A `Task` is plain data that can be pickled; `run_task` is a top-level function,
which never raises for a fault of the fit: it returns what happened.
"""

import hashlib
import os
import socket
import sys
import time
import traceback
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import DataError, OutputError, ProspectEmuError, RangeError, SetupError
from ..fit.quantiles import weighted_quantiles
from ..fit.result import FitResult
from ..fit.result_file import add_certificate
from ..observe.filters import load_filters
from . import fingerprints, uncover_catalog
from .backends import load_backend
from .fingerprints import CERTIFICATE, Key, changed_fields, remaining
from .locks import take_lock
from .sections import FitConfig
from .store import read_record

# Percentiles of the results table, and how its columns end.
QUANTILES = {"p025": 0.025, "p16": 0.16, "p50": 0.5, "p84": 0.84, "p975": 0.975}
FINISHED, FAILED, HALT = "finished", "failed", "halt"


@dataclass(frozen=True)
class Task:
    """All that one fit needs.

    Attributes
    ----------
    key : Key
    path : str
        File to write.
    lock : str
        File, one for all fits, in which this one is locked meanwhile.
    backend : str
        See `prospect_emu.fits.backends`.
    photometry : dict
        From `prospect_emu.fits.fingerprints.photometry_of`.
    fit : FitConfig
    seed : int
    fingerprint : dict
    again : bool
        Whether a result that ended on a budget is to be replaced.
    layout : str
        Of the catalog, whose table needs columns of its own.
    """

    key: Key
    path: str
    lock: str
    backend: str
    photometry: dict
    fit: FitConfig
    seed: int
    fingerprint: dict
    again: bool = False
    layout: str = ""


def run_task(task):
    """Make a fit and write its file.

    Returns
    -------
    dict
        ``state``: "finished", "failed", or "halt" where the fault is the
        folder's or the installation's rather than the galaxy's; ``error``,
        ``traceback``, ``again`` (whether another attempt may help); ``status`` of
        the sampler, ``seconds`` (of the sampler), ``seconds_total``,
        ``memory_mb``, ``host``, ``pid``.
    """
    began = time.perf_counter()
    out = {"host": socket.gethostname(), "pid": os.getpid(), "seconds": 0.0, "status": ""}
    try:
        out |= _fit(task, began)
    except (DataError, RangeError) as err:
        out |= {"state": FAILED, "error": str(err), "again": False}
    except ProspectEmuError as err:  # of a setting, a file or this installation
        out |= {"state": HALT, "error": str(err), "again": False}
    except Exception as err:  # the galaxy's name has to reach the user with any fault
        text = f"{type(err).__name__}: {err}"
        out |= {"state": FAILED, "error": text, "again": True, "traceback": traceback.format_exc()}
    out["seconds_total"] = time.perf_counter() - began
    out["memory_mb"] = _memory_mb()
    return out


def _memory_mb():
    """The most memory that this process has had; NaN where that is not known."""
    try:
        import resource
    except ModuleNotFoundError:  # Windows
        return float("nan")
    per_mb = 1024.0**2 if sys.platform == "darwin" else 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / per_mb


def _fit(task, began):
    with _claim(task):
        # A worker that outlived its campaign may have finished this meanwhile.
        status = _already(task)
        if status == "converged" or (status is not None and not task.again):
            return {"state": FINISHED, "status": status, "repeated": True}
        backend = load_backend(task.backend)
        _check_worker(task, backend)
        obs, former = obs_of(task.photometry), _uncertified(task)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The fit has not converged")
            warnings.filterwarnings("ignore", message="The errors in obs do not include")
            if former is None:
                result = backend.fit(obs, task.fit, task.seed)
            else:
                result = backend.certify(former, obs, task.fit, task.seed)
        sampling, row = result.info["seconds"], None
        if former is not None:  # of all its samples, of which few may be left
            sampling, row = 0.0, former.info["campaign"]["row"]
        result.info["campaign"] = {
            "galaxy": task.key.galaxy,
            "repeat": task.key.repeat,
            "fingerprint": task.fingerprint,
            "row": (row or row_of(result, task.layout)) | certificate_columns(result.certificate),
            "bands": bands_of(result),
            "seconds": result.info["seconds"],
            "seconds_outside": time.perf_counter() - began - sampling,
            "memory_mb": _memory_mb(),
        }
        Path(task.path).parent.mkdir(parents=True, exist_ok=True)
        if former is None:
            result = thinned(result, task.fit.draws) if task.fit.draws else result
            result.write(task.path, overwrite=True)
        else:
            add_certificate(result, task.path)
    info = result.info
    return {"state": FINISHED, "status": info["status"], "seconds": info["seconds"]}


def _check_worker(task, backend):
    """Refuse to fit with another emulator, or with other packages, than were fingerprinted."""
    here = fingerprints.emulator_fields(backend.identity(task.fit))
    here |= {f"versions.{k}": v for k, v in fingerprints.versions().items()}
    here |= fingerprints.settings_fields(task.fit)
    wanted = {
        k: v for k, v in task.fingerprint.items()
        if k.split(".")[0] in ("emulator", "versions", "settings")
    }  # fmt: skip
    differ = changed_fields(wanted, here)
    if differ:
        raise SetupError(
            f"The worker on {socket.gethostname()} has other {', '.join(differ)} than the campaign "
            "started with; use one environment and the same emulator file everywhere, and start "
            "the campaign again if the file was changed."
        )


def obs_of(photometry):
    """The `obs` of plain photometry."""
    obs = {k: v for k, v in photometry.items() if k != "bands"}
    obs["filters"] = list(_filters(tuple(photometry["bands"])))
    obs |= {"wavelength": None, "spectrum": None, "unc": None}
    return obs


@lru_cache(maxsize=8)
def _filters(bands):
    return tuple(load_filters(bands))


def row_of(result, layout=""):
    """A fit's numbers for the results table, JSON.

    Percentiles of all free parameters and derived quantities, evidence,
    effective samples, chi2 of the best sample, what is wrong with the posterior in
    ``problems`` ("none" if nothing is), and, where the truth is known, the share of the
    posterior below it (``rank_NAME``).
    """
    columns = result.columns()
    names = list(columns)
    values = np.stack(list(columns.values()), axis=1)
    quantiles = weighted_quantiles(values, result.weights, np.array(list(QUANTILES.values())))
    row = {
        f"{name}_{ending}": float(quantiles[i, j])
        for j, name in enumerate(names)
        for i, ending in enumerate(QUANTILES)
    }
    best = int(np.argmax(result.log_posterior))
    row |= {f"{name}_best": float(columns[name][best]) for name in names}
    truth = result.all_truth()
    for name in names:
        if name in truth:
            row[f"true_{name}"] = float(truth[name])
            below = result.weights[columns[name] < truth[name]].sum()
            row[f"rank_{name}"] = float(min(below, 1.0))  # weights sum to one but for rounding
    info = result.info
    if layout:
        row |= uncover_catalog.columns_of(result)
    return row | {
        "logz": result.logz,
        "logz_err": result.logz_err,
        "n_eff": result.n_eff,
        "chi2": result.photometry.chi2,
        "bands": int(result.photometry.mask.sum()),
        "ncall": info["ncall"],
        "niter": info["niter"],
        "zred": row.get("zred_p50") if info["zred"] is None else info["zred"],
        "problems": "; ".join(info["problems"]) or "none",
        "seed": info["seed"],
        **_of_proposal(info["diagnostics"].get("amortised")),
    }


def _of_proposal(told):
    """Columns of a fit by a learnt proposal."""
    if told is None:
        return {}
    return {"verdict": told["verdict"], "verdict_reason": told["reason"]}


def bands_of(result):
    """How the fitted bands came out: band -> (chi, offset).

    With the median of the posterior prediction: (observed - predicted) / error, and
    observed / predicted - 1. Masked bands are not in it.
    """
    p = result.photometry
    predicted = p.predicted[1]
    chi = (p.maggies - predicted) / p.unc
    with np.errstate(divide="ignore", invalid="ignore"):
        offset = p.maggies / predicted - 1.0
    out = {}
    for i in np.flatnonzero(p.mask):
        values = float(chi[i]), float(offset[i])
        out[p.bands[i]] = [round(v, 4) if np.isfinite(v) else None for v in values]
    return out


def certificate_columns(certificate):
    """Numbers and words of a certificate, where the fit has one."""
    if certificate is None:
        return {}
    return {
        "certificate": certificate.verdict,
        "pareto_k": float(certificate.pareto_k),
        "effective_fraction": float(certificate.effective_fraction),
        "max_shift": float(certificate.max_shift),
        "dlogz": float(certificate.dlogz),
    }


def _already(task):
    try:
        record = read_record(task.path)
        if changed_fields(record["fingerprint"], task.fingerprint):
            return None
        return FitResult.read(task.path).info["status"]
    except ProspectEmuError:
        return None


def _uncertified(task):
    """A result that lacks nothing but the certificate; None if there is none."""
    try:
        old = read_record(task.path)["fingerprint"]
        former = FitResult.read(task.path)
    except ProspectEmuError:
        return None
    lacks = former.certificate is None and task.fingerprint[CERTIFICATE]
    without = task.fingerprint | {CERTIFICATE: 0}
    same = remaining(old, without, former.info["status"] == "converged") == ((), False)
    return former if lacks and same and not task.again else None


@contextmanager
def _claim(task):
    """Hold the lock of one fit; wait for a worker that is at it already."""
    try:
        Path(task.lock).parent.mkdir(parents=True, exist_ok=True)
        f = open(task.lock, "a")
    except OSError as err:
        raise OutputError(f"Cannot write {task.lock} ({err}); free space and start again.") from err
    with f:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the campaign has said that nothing can be locked
            place = int.from_bytes(hashlib.sha256(task.key.name.encode()).digest()[:7], "big")
            take_lock(f, wait=True, at=place)
        yield


def thinned(result, draws):
    """A result of `draws` samples from its posterior, and its best sample without weight.

    The draws of a certificate stay. All are kept in single precision.
    """

    def some(array):
        return np.asarray(array)[index].astype(np.float32)

    index, certificate = result.draw(draws), result.certificate
    if certificate is not None:
        index = np.concatenate([certificate.index, index])
        at = 1 + np.arange(certificate.index.size)
        certificate = replace(certificate, index=at)
    index = np.concatenate([[np.argmax(result.log_posterior)], index])
    run, *others = result._run
    last = {k: np.atleast_1d(run[k])[-1:] for k in ("logz", "logzerr", "information")}
    every = {k: some(run[k]) for k in ("samples", "logl", "logvol")}
    every["samples_id"] = np.asarray(run["samples_id"])[index].astype("i4")
    log_weight = np.full(index.size, last["logz"][0] - np.log(index.size - 1.0))
    log_weight[0] = -np.inf
    weights = np.exp(log_weight - last["logz"][0])  # as they are written
    kept = {
        **last, **every, "logwt": log_weight, "eff": run["eff"], "niter": run["niter"],
        "ncall": np.array([result.info["ncall"]]),
    }  # fmt: skip
    quantities, vectors, rest = result.quantities, result.vectors, result.restframe
    return replace(
        result,
        samples=some(result.samples),
        weights=weights / weights.sum(),
        log_likelihood=some(result.log_likelihood),
        log_posterior=some(result.log_posterior),
        mfrac=some(result.mfrac),
        vectors=None if vectors is None else some(vectors),
        quantities=quantities and {k: some(v) for k, v in quantities.items()},
        restframe=rest and {k: some(v) for k, v in rest.items()},
        certificate=certificate,
        _run=(kept, *others),
    )
