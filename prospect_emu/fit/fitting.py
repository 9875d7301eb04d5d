"""`fit_model`: Prospector's call, with an emulator at full speed."""

import difflib
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, fields
from numbers import Real
from typing import Any, get_args

import numpy as np

from ..errors import ModelMismatchError, ProspectEmuError
from ..files import digest
from ..networks.proposal import load_proposal
from ..observe import observation
from ..prospector.version import adapter
from ..sampling.nested import FitResults, run_nested
from ..sampling.settings import NestedSettings
from .amortised import attempt
from .collect import describe_source
from .description import describe_model, plain
from .mass_coordinates import mass_coordinates
from .posterior import BatchedPosterior

_USE_PROSPECTOR = "use prospect.fitting.fit_model with the same arguments for it"

# Other spellings that Prospector's command line has or had; the second half of Prospector 2.
_ALIASES = {
    "nested_method": "sample",
    "nlive_init": "nlive_init",
    "nlive_batch": "nlive_batch",
    "nested_nlive": "nlive_init",
    "nested_dlogz": "dlogz_init",
    **{name: name for name in ("dlogz_init", "bound", "sample", "walks", "bootstrap")},
}
# Prospector scripts pass on all their run parameters: these belong to other
# parts of such a script and mean nothing to a nested-sampling fit.
_ELSEWHERE = frozenset(
    "debug outfile output output_pickle zcontinuous min_method min_opts nmin nwalkers niter nburn "
    "interval save_interval restart_from initial_disp ensemble_dispersion param_file "
    "nested_posterior_thresh use_pool return_sampler_result_object".split()
)
_OWN = (
    "seed", "queue_size", "max_seconds", "progress", "checkpoint_file", "checkpoint_every",
    "verbose", "print_progress",
)  # fmt: skip
_NUMBERS: dict[str, tuple[type, ...]] = {
    "seed": (int,), "queue_size": (int,), "max_seconds": (float,), "checkpoint_every": (float,)
}  # fmt: skip
_FUNCTIONS = ("stop_function", "wt_function")


def fit_model(
    obs,
    model,
    sps,
    noise: tuple = (None, None),
    lnprobfn: Callable | None = None,
    optimize: bool = False,
    emcee: bool = False,
    dynesty: bool = True,
    nested_sampler: str | None = None,
    likelihood: str | None = None,
    **kwargs: Any,
) -> dict[str, Any]:
    """Fit photometry, a spectrum or both; `prospect.fitting.fit_model`'s signature and return.

    The same prior, likelihood and nested sampler as Prospector's, but hundreds
    of parameter vectors at a time and without Prospector's cost per vector.

    Parameters
    ----------
    obs : dict or list of Observation
        A dictionary with Prospector 1.4; either with Prospector 2.
        Used as it is; pass ``sps.inflate(obs)`` to include the emulator's error.
        Like Prospector, this completes `obs` in place (``phot_mask``, ``ndof``, ...).
    model : prospect.models.ProspectorParams
    sps : EmulatorSPS
    noise : (None, NoiseModel or None)
        As in Prospector; kernels `Uncorrelated` only.
    lnprobfn, optimize, emcee, dynesty
        As in Prospector; only their defaults are possible here.
    nested_sampler : {None, "dynesty", ""}
        Prospector 2's; as there, nothing is run for "", the default of its parser.
    likelihood : {None, "prospector2"}
        None: independent Gaussian errors, as they are. "prospector2": as the ``NoiseModel`` of
        Prospector 2 computes them, which multiplies chi-squared by ln(2 pi).
    **kwargs
        ``nested_*``: Prospector's, see `NestedSettings` for meaning and
        defaults. And

        preset : str
            "quick", "standard" (default) or "careful": `nested_*` that are not given. See
            docs/sampling.md for what each costs and how far to trust it.
        proposal : Proposal, str or path-like
            A learnt proposal (docs/amortised.md), by whose draws the posterior is sampled where
            these suffice; where they do not, nested sampling follows. What happened is in
            ``results.diagnostics["amortised"]``.
        seed : int
            The same seed gives the same result.
        queue_size : int
            Chains that advance together.
        max_seconds : float
            Budget of wall time; the status tells if it was used up.
        progress : bool or callable
            A line on stderr, or a function that is given a dict. Default: a line
            unless ``verbose`` or ``print_progress`` is given and false.
        checkpoint_file : path-like
            The run is saved here, and goes on from here if the file is that of
            the same fit; see `prospect_emu.sampling.nested.run_nested`.
        checkpoint_every : float
            Seconds between two saves (60).

    Returns
    -------
    dict
        ``{"optimization": (None, 0.0), "sampling": (results, seconds)}``, with
        `results` a dynesty `Results` that `prospect.io.write_results.write_hdf5`
        takes, and that has ``results.status`` and ``results.diagnostics``. With Prospector 2
        ``"sampling"`` is the dictionary that its fit_model returns (``points``,
        ``log_weight``, ``log_like``, ``duration``) with those results as its
        ``sampler_result_object``.

    Raises
    ------
    ModelFileError
        If the checkpoint is damaged or of another fit; what differs is named.
    ModelMismatchError
        If the model, noise model or likelihood is not what was emulated.
    ProspectEmuError
        If another sampler, or an unknown keyword, is asked for.
    """
    _refuse(lnprobfn, optimize, emcee, dynesty, nested_sampler, sps, kwargs)
    if nested_sampler == "":
        warnings.warn(
            "nested_sampler is empty, so that nothing is fitted; pass nested_sampler='dynesty'.",
            stacklevel=2,
        )
        return {"optimization": None, "sampling": None}
    proposal = kwargs.pop("proposal", None)
    settings, own, functions = parse_keywords(kwargs)
    if proposal is not None:
        proposal = load_proposal(proposal)
    if model.ndim == 0:
        raise ModelMismatchError("The model has no free parameters; there is nothing to fit.")
    if settings.sample in ("slice", "rslice"):
        warnings.warn(
            f"nested_sample={settings.sample!r} ('slice' is the default of Prospector's parser) "
            "runs one chain at a time, tens of times slower; pass nested_sample='rwalk', whose "
            "chains advance together.",
            stacklevel=2,
        )
    data = adapter.observed(obs, noise, likelihood)
    if observation.has_photometry(data):
        observation.check_not_changed(data)
    posterior = BatchedPosterior(model, data, sps)
    if hasattr(sps, "emulator"):
        _check_inflated(data, sps.emulator.name)
    adapter.complete(obs, data)
    progress = own.pop("progress", None)
    quiet = not own.pop("verbose", True) or not own.pop("print_progress", True)
    own.pop("print_progress", None)
    if own.get("checkpoint_file") is not None:
        own["identity"] = describe_problem(data, model, sps)
    start = time.perf_counter()
    tried = None
    if proposal is not None:
        tried = attempt(posterior, data, model, proposal, own.get("seed"))
    if tried is not None and tried.results is not None:
        return adapter.output(tried.results, time.perf_counter() - start)
    results = run_nested(
        posterior.prior_transform,
        posterior.log_likelihood,
        posterior.ndim,
        settings,
        progress=(not quiet) if progress is None else progress,
        coordinates=mass_coordinates(posterior) if settings.moves == "learnt" else None,
        spent=time.perf_counter() - start,
        **own,
        **functions,
    )
    if tried is not None:
        told = results.diagnostics | tried.diagnostics
        results = FitResults(list(results.items()), results.status, told)
    return adapter.output(results, time.perf_counter() - start)


def _check_inflated(obs, emulator):
    inflated = obs.get("emulator")
    if inflated is not None and inflated != emulator:
        raise ModelMismatchError(
            f"obs was inflated with emulator {inflated!r}, sps is {emulator!r}; pass "
            "sps.inflate(obs)."
        )
    if inflated is None:
        warnings.warn(
            "The errors in obs do not include the emulator's; pass obs = sps.inflate(obs) to "
            "add them.",
            stacklevel=3,
        )


def describe_problem(data, model, sps):
    """What a posterior depends on: name to description or checksum, JSON-serialisable.

    Used to tell whether a checkpoint is of the same fit.
    """
    names = ("maggies", "maggies_unc", "phot_mask", "upper_limits", "maggies_covariance")
    names += ("wavelength", "spectrum", "unc", "mask", "other_data")
    arrays = {k: np.asarray(data[k]) for k in names if data.get(k) is not None}
    filters = observation.filter_list(data.get("filters"))
    noise = [n for _, n in data.sets] + ([] if data.spectral is None else [data.spectral])
    plain_noise = len(data.sets) < 2 and not any(n.terms or n.why or n.weighted_chi2 for n in noise)
    return {
        "photometry": digest(arrays, [f.name for f in filters]),
        **({} if data.get("lines") is None else {"lines": data["lines"]}),
        "emulator": list(describe_source(sps)[:2]),
        "noise": [] if plain_noise else [plain(asdict(n)) for n in noise],
        **{f"model.{k}": v for k, v in describe_model(model).items()},
    }


def _check_numbers(given):
    """Refuse text and the like where `NestedSettings` and `run_nested` want numbers; 60.0 is 60."""
    wanted = {f.name: get_args(f.type) or (f.type,) for f in fields(NestedSettings)} | _NUMBERS
    for name, value in given.items():
        kinds = {int, float} & set(wanted.get(name, ()))
        if not kinds or value is None:
            continue
        real = isinstance(value, Real) and not isinstance(value, bool)
        if not real or (float not in kinds and not float(value).is_integer()):
            kind = "number" if float in kinds else "whole number"
            raise ProspectEmuError(f"{name} = {value!r} must be a {kind}.")
        given[name] = value if float in kinds else int(value)


def parse_keywords(kwargs):
    """Sort Prospector's keywords.

    Parameters
    ----------
    kwargs : dict

    Returns
    -------
    settings : NestedSettings
    own : dict
        This package's keywords, for `run_nested`.
    functions : dict
        ``stop_function`` and ``wt_function``, if given.

    Raises
    ------
    ProspectEmuError
        If a ``nested_`` keyword is unknown, or another one resembles a known
        keyword. Other unknown ones are named in a warning.
    """
    names = {f.name for f in fields(NestedSettings)}
    values, own, functions, unknown = {}, {}, {}, []
    kwargs = dict(kwargs)
    preset = kwargs.pop("preset", None) or "standard"
    for key, value in kwargs.items():
        name = _ALIASES.get(key, key.removeprefix("nested_"))
        if key == "sample" and value == "auto":
            # The default of Prospector 2's parser.
            continue
        if key in _ALIASES or (key.startswith("nested_") and name in names):
            # Prospector's own None means "the default" everywhere but here.
            if value is not None or name in ("maxbatch", "bootstrap", "live_points"):
                values[name] = value
        elif key in _OWN:
            own[key] = value
        elif key in _FUNCTIONS:
            functions[key] = value
        elif key != "pool" and key not in _ELSEWHERE:
            unknown.append(key)
    _check_numbers(values)
    _check_numbers(own)
    known = [f"nested_{n}" for n in sorted(names)]
    known += ["preset", "proposal", *_OWN, *_FUNCTIONS, *_ALIASES]
    for key in unknown:
        near = [f"nested_{key}"] * (key in names)
        near = near or difflib.get_close_matches(key, known, n=3, cutoff=0.75)
        if key.startswith("nested_") or near:
            hint = near or difflib.get_close_matches(key, known, n=3, cutoff=0.4) or known
            raise ProspectEmuError(
                f"fit_model does not know the keyword {key!r}; did you mean {', '.join(hint)}?"
            )
    if unknown:
        warnings.warn(
            f"fit_model does not use {', '.join(unknown)}; a fit depends on nested_* keywords, "
            f"{', '.join(_OWN[:6])} only.",
            stacklevel=3,
        )
    return NestedSettings.preset(preset, **values), own, functions


def _refuse(lnprobfn, optimize, emcee, dynesty, nested_sampler, sps, kwargs):
    """Name what only Prospector's own fit_model can do."""
    if not hasattr(sps, "emulator") and not hasattr(sps, "get_galaxy_spectrum"):
        raise ModelMismatchError(
            f"sps is a {type(sps).__name__}, which predicts nothing; pass EmulatorSPS()."
        )
    if lnprobfn is not None and lnprobfn is not adapter.lnprobfn:
        raise ModelMismatchError(
            "lnprobfn is not Prospector's own, and only that one is compiled into batches; "
            f"{_USE_PROSPECTOR}."
        )
    for name, given in (("optimize", optimize), ("emcee", emcee)):
        if given:
            raise ProspectEmuError(
                f"{name}=True: fit_model here runs nested sampling alone; {_USE_PROSPECTOR}."
            )
    if nested_sampler not in (None, "", "dynesty"):
        raise ProspectEmuError(
            f"nested_sampler={nested_sampler!r}: fit_model here runs dynesty; pass "
            f"nested_sampler='dynesty', or {_USE_PROSPECTOR}."
        )
    if not dynesty:
        raise ProspectEmuError(
            f"dynesty=False leaves nothing to do here; pass dynesty=True, or {_USE_PROSPECTOR}."
        )
    if kwargs.get("pool") is not None:
        raise ProspectEmuError(
            "A pool is given, but lockstep fits use one core each; leave pool out and run several "
            "fits side by side."
        )
