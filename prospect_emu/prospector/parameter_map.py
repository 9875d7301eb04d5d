"""From vectors of a Prospector model to FSPS parameters by name, for whole batches.

Prospector runs every ``depends_on`` for one vector at a time, which takes from
50 us to milliseconds. `ParameterMap` runs them once for a batch: Prospector's
own transforms in vectorised form, others in batches where that can be verified
and row by row where not. Whatever it uses is compared with
``model.set_parameters`` first.
"""

import copy
import time
from contextlib import contextmanager

import numpy as np

from ..errors import ModelMismatchError
from ..parameters import BASIS, PARAMETERS, misspelt
from . import unknown_transforms as unknown
from .batched_priors import compile_priors, prior_draws, unit_draws, widened
from .recognised import RECOGNISERS
from .transform_steps import inner, name_of, step_of
from .transforms import vectorised

# What FSPS and Prospector's bases take. Prospector keeps sigma_smooth to itself.
FSPS = (set(PARAMETERS) | set(BASIS) | {"lumdist"}) - {"sigma_smooth"}
# Relative agreement with Prospector's own values that a known transform must
# reach, and an unknown one in batches with itself row by row.
_KNOWN, _UNKNOWN = 1e-10, 1e-12
# Repeating set_parameters may move values by rounding, or as bins of Prospector's
# flexible histories do by a year in 3e7; by more where a transform reads a value
# of the vector before.
_SETTLED = 1e-6
_DRAWS = 64


class ParameterMap:
    """Parameters of FSPS and others as functions of a Prospector model's free vector.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
        Any model. Its state is as before afterwards.
    priors : list of CompiledPrior, optional
        Of `compile_priors`, if that was done.

    Attributes
    ----------
    ndim : int
    fixed : dict
        What does not vary, by name, of what FSPS and Prospector's bases take: a
        scalar, or an array such as ``agebins`` (nbin, 2).
    settings : dict
        What does not vary and FSPS does not know (of spectra, noise, priors).
    varying : tuple of str
        Parameters of FSPS that vary.
    other : tuple of str
        Other parameters that vary.
    row_by_row : tuple of str
        Those whose transform runs row by row.
    cost : str
        One sentence on these; empty if there are none.
    stale : tuple of str
        Parameters whose transform reads another that Prospector computes after it, so
        that Prospector's value depends on the vector before. Here they have the values
        that ``set_parameters`` gives when it is called again with the same vector.

    Raises
    ------
    ModelMismatchError
        If a transform fails for draws of the prior, or a parameter is misspelt.
    """

    def __init__(self, model, priors=None):
        _check_spelling(model)
        self.ndim = model.ndim
        self._model = model
        self._initial = copy.deepcopy(model.params)
        self._free = dict(model.theta_index)
        self._priors = compile_priors(model) if priors is None else priors
        draws = prior_draws(self._priors, unit_draws(self.ndim, _DRAWS))
        passes, expected, self.stale = self._settle(draws)
        self._whole = False
        self._compile(passes, draws)
        rows = sorted(set(self._times), key=self._times.get, reverse=True)
        if not self._agrees(draws, expected):
            self._make_whole(expected)
            rows = list(self._varies)
        self.row_by_row = tuple(rows)
        self.cost = self._cost()
        names = self._varies
        self.varying = tuple(n for n in names if n in FSPS)
        self.other = tuple(n for n in names if n not in FSPS)
        constant = {k: _plain(v[0]) for k, v in self._base.items() if k not in names}
        self.fixed = {k: v for k, v in constant.items() if k in FSPS}
        self.settings = {k: v for k, v in constant.items() if k not in FSPS}
        self._scalar = {k for k in names if expected[k].shape[1:] == (1,)}

    def __repr__(self):
        return f"ParameterMap({', '.join(self.varying)}; others: {', '.join(self.other)})"

    def __call__(self, theta):
        """All parameters that vary.

        Parameters
        ----------
        theta : array_like, shape (n, ndim)

        Returns
        -------
        dict
            (n,) arrays; (n, k) of those with k elements, (n, nbin, 2) of age bins. They
            may be views of `theta`. NaN where Prospector's transform raises ValueError.
        """
        theta = np.asarray(theta, dtype=float)
        if theta.ndim != 2 or theta.shape[1] != self.ndim:
            raise ModelMismatchError(
                f"theta has shape {theta.shape}; the model has {self.ndim} free parameters, so "
                f"give (n, {self.ndim})."
            )
        values = self._evaluate(theta)
        return {k: values[k][:, 0] if k in self._scalar else values[k] for k in self._varies}

    def ranges(self, priors=None, n=4096, margin=0.02):
        """Ranges of what varies over the prior.

        Parameters
        ----------
        priors : list of CompiledPrior, optional
            Of `compile_priors`; default the model's.
        n : int
            Quasi-random draws, corners of the unit cube included.
        margin : float
            Added on both sides, as a fraction of the range (of the bound, where the
            parameter has one sign, which it keeps).

        Returns
        -------
        dict
            Name -> (lo, hi), floats or arrays of the parameter's shape.
        """
        compiled = self._priors if priors is None else priors
        values = self(prior_draws(compiled, unit_draws(self.ndim, n)))
        out = {}
        for name, value in values.items():
            lo, hi = widened(np.nanmin(value, axis=0), np.nanmax(value, axis=0), margin)
            out[name] = (lo[()], hi[()])
        return out

    # ---- compilation ---------------------------------------------------------------

    @contextmanager
    def _borrowed(self):
        """The model's parameters for own use, put back afterwards."""
        params = self._model.params
        before = dict(params)
        try:
            yield
        finally:
            params.clear()
            params.update(before)

    def _reference(self, theta, passes):
        """What Prospector makes of `theta`: dict of (n, ...); NaN where it raises ValueError."""
        rows, failure = [], None
        with self._borrowed():
            for row in theta:
                self._model.params.clear()
                self._model.params.update(copy.deepcopy(self._initial))
                try:
                    for _ in range(passes):
                        self._model.set_parameters(row)
                except ValueError as err:
                    rows.append(None)
                    failure = err
                except Exception as err:
                    raise ModelMismatchError(_failure(err)) from err
                else:
                    rows.append(dict(self._model.params))
        good = [r for r in rows if r is not None]
        if not good:
            raise ModelMismatchError(_failure(failure))
        out = {}
        for name, first in good[0].items():
            first = np.asarray(first)
            if first.dtype.kind in "fiub":
                nan = np.full(first.shape, np.nan)
                out[name] = np.array([nan if r is None else np.asarray(r[name]) for r in rows])
            else:
                out[name] = np.broadcast_to(first, (len(rows), *first.shape))
        return out

    def _settle(self, draws):
        """How often transforms must run until each has read what belongs to the vector."""
        dependent = sum(1 for i in self._model.config_dict.values() if i.get("depends_on"))
        now, stale = self._reference(draws, 1), set()
        for passes in range(1, dependent + 2):
            following = self._reference(draws, passes + 1) if dependent else now
            moved = {k for k in now if not unknown.close(following[k], now[k], _SETTLED)}
            if not moved:
                return passes, now, tuple(sorted(stale))
            stale |= moved
            now = following
        raise ModelMismatchError(
            f"The values of {', '.join(sorted(moved))} change each time that the same vector is "
            "set, as their transforms depend on each other; remove the circular dependence."
        )

    def _compile(self, passes, draws):
        """Steps that are needed, in order, each with the fastest form that is right."""
        # Not the raw values of the model: those may be of another vector.
        self._base = {k: np.asarray(v)[None] for k, v in self._initial.items()}
        names = set(self._base)
        order = [
            step_of(k, info["depends_on"], names)
            for k, info in self._model.config_dict.items()
            if info.get("depends_on") is not None
        ] * passes
        live, steps = set(names), []
        for step in reversed(order):
            if step.name in live:
                steps.append(copy.copy(step))
                live = (live - {step.name}) | set(step.reads)
        steps.reverse()
        varies = set(self._free)
        values = {**self._base, **{k: draws[:, s] for k, s in self._free.items()}}
        self._steps, self._times = [], {}
        last = {}
        for step in steps:
            given = {k: values[k] for k in step.reads}
            values[step.name] = expected = self._rows(step, given)
            if varies & set(step.reads):
                varies.add(step.name)
                last[step.name] = len(self._steps)
                self._steps.append(step)
                self._choose(step, given, expected)
            else:
                varies.discard(step.name)
                self._base[step.name] = expected
        self._varies = tuple(k for k in self._initial if k in varies)

    def _rows(self, step, given):
        try:
            return unknown.by_rows(step.function)(**given)
        except ModelMismatchError:
            raise
        except Exception as err:
            raise ModelMismatchError(
                f"The transform of {step.name!r} ({name_of(step.function)}) fails for draws of the "
                f"prior: {type(err).__name__}: {err}."
            ) from err

    def _choose(self, step, given, expected):
        """The fastest form of a transform that gives what its rows give."""
        fast, _ = vectorised(inner(step.function))
        candidates = []
        if fast is not None:
            candidates.append((step.bound(fast), _KNOWN))
        elif unknown.may_take_batches(step.function):
            for form in (unknown.batch_behind, unknown.batch_in_front):
                candidates.append((form(step.function), _UNKNOWN))
        rows = unknown.by_rows(step.function, expected.shape[1:])
        for run, tolerance in candidates:
            if unknown.same(run, given, expected, tolerance):
                step.run = run
                return
        for recognise in RECOGNISERS:
            run = recognise(rows, given, expected)
            if run is not None and unknown.same(run, given, expected, _KNOWN):
                step.run = run
                return
        step.run = rows
        start = time.perf_counter()
        step.run(**given)
        spent = (time.perf_counter() - start) / len(expected)
        self._times[step.name] = self._times.get(step.name, 0.0) + spent

    def _evaluate(self, theta):
        if self._whole:
            return self._reference(theta, self._whole)
        values = dict(self._base)
        for name, span in self._free.items():
            values[name] = theta[:, span]
        for step in self._steps:
            values[step.name] = step.run(**{k: values[k] for k in step.reads})
        n = len(theta)
        for name in self._varies:
            if len(values[name]) != n:
                values[name] = np.broadcast_to(values[name], (n, *values[name].shape[1:]))
        return values

    def _agrees(self, draws, expected):
        """Whether the compiled map gives what Prospector gives, in batches of any size."""
        if set(expected) != set(self._base):
            return False
        good = ~_failed(expected)
        values = self._evaluate(draws)
        one = np.flatnonzero(good)[:1]
        alone = self._evaluate(draws[one])
        # Where Prospector's transforms raise ValueError, something must be NaN here.
        nan = np.zeros(len(draws), dtype=bool)
        for k in self._varies:
            nan |= np.isnan(values[k].reshape(len(draws), -1)).any(axis=1)
        if not nan[~good].all():
            return False
        return all(
            unknown.close(values[k][good], expected[k][good], _KNOWN)
            and unknown.close(alone[k], expected[k][one], _KNOWN)
            if k in self._varies
            else unknown.close(
                np.broadcast_to(self._base[k], expected[k].shape)[good], expected[k][good], _KNOWN
            )
            for k in expected
        )

    def _make_whole(self, expected):
        """A class of the user's with a set_parameters of its own: call just that."""
        self._whole = 2 if self.stale else 1
        good = ~_failed(expected)
        expected = {k: v[good] for k, v in expected.items()}
        varies = [
            k
            for k, v in expected.items()
            if v.dtype.kind in "fiub" and not unknown.close(v, v[:1], 0.0)
        ]
        self._varies = tuple(varies)
        self._base = {k: v[:1] for k, v in expected.items()}

    def _cost(self):
        if self._whole:
            return (
                f"{type(self._model).__name__}.set_parameters is not Prospector's own and is "
                "called for every vector."
            )
        if not self.row_by_row:
            return ""
        names = ", ".join(
            f"{s.name} ({name_of(s.function)}, {1e6 * self._times[s.name]:.0f} us)"
            for s in {s.name: s for s in self._steps if s.name in self._times}.values()
        )
        return f"Transforms that are not vectorised run row by row, at this cost a vector: {names}."


def _check_spelling(model):
    """Refuse names that are nearly those of FSPS's parameters, unless a transform reads them."""
    names = set(model.params)
    suspects = {k: v for k in names if (v := misspelt(k))}
    if not suspects:
        return
    for info in model.config_dict.values():
        if info.get("depends_on"):
            for name in step_of("", info["depends_on"], names).reads:
                suspects.pop(name, None)
    for name, meant in suspects.items():
        raise ModelMismatchError(
            f"The model's {name!r} is not a parameter of FSPS, and no transform reads it; write "
            f"{meant!r}, or drop it."
        )


def _failed(expected):
    """Rows of `ParameterMap._reference` for which Prospector's transforms raise ValueError."""
    numbers = [v.reshape(len(v), -1) for v in expected.values() if v.dtype.kind == "f"]
    if not numbers:
        return np.zeros(len(next(iter(expected.values()))), dtype=bool)
    return np.all([np.isnan(v).all(axis=1) for v in numbers], axis=0)


def _plain(value):
    """One value as a scalar, several as an array."""
    return value.item() if value.size == 1 else value


def _failure(err):
    where, trace = "A transform of the model", err.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_name == "propagate_parameter_dependencies":
            where = f"The transform of {trace.tb_frame.f_locals.get('p')!r}"
        trace = trace.tb_next
    return (
        f"{where} fails in Prospector for draws of the prior ({type(err).__name__}: {err}); check "
        "its depends_on with model.set_parameters(theta)."
    )
