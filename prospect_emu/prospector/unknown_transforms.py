"""What can be known about a transform that somebody else wrote.

Which parameters it reads, whether it can be trusted with a whole batch, and how
to call it for batches: with the batch in front, with the batch behind, or row
by row.
"""

import dis
import functools
import inspect
import itertools
import types

import numpy as np

# With these, what a function does to one row can depend on the others.
_MIXES_ROWS = {
    "any", "all", "max", "min", "amax", "amin", "nanmax", "nanmin", "sort", "argsort", "unique",
    "random", "rand", "normal", "uniform",
}  # fmt: skip
_READS_ALL = {"locals", "vars", "eval", "exec", "globals", "dict"}


def _unwrap(function):
    """The Python function behind partials and methods, and how many arguments are bound."""
    bound = 0
    while True:
        if isinstance(function, functools.partial):
            bound += len(function.args)
            function = function.func
        elif isinstance(function, types.MethodType):
            bound += 1
            function = function.__func__
        elif isinstance(function, types.FunctionType):
            return function, bound
        elif isinstance(vars(type(function)).get("__call__"), types.FunctionType):
            bound += 1
            function = type(function).__call__
        else:
            return None, bound


def reads(function, names):
    """Names among `names` that `function`, called with all of them by keyword, may read.

    All of them unless its code shows that it leaves its ``**extras`` alone.
    """
    target, bound = _unwrap(function)
    if target is None:
        return set(names)
    code = target.__code__
    count = code.co_argcount + code.co_kwonlyargcount
    named = set(code.co_varnames[bound:count])
    if code.co_flags & inspect.CO_VARKEYWORDS:
        extras = code.co_varnames[count + bool(code.co_flags & inspect.CO_VARARGS)]
        used = any(
            i.opname.startswith("LOAD") and (i.argval == extras or _holds(i.argval, extras))
            for i in dis.get_instructions(code)
        )
        if _READS_ALL & set(code.co_names):
            return set(names)
        if used:
            callees = _called(target)
            if not callees or not _only_passed_on(code, extras):
                return set(names)
            named = named.union(*(reads(f, names) for f in callees if f is not target))
    return named & set(names)


def _only_passed_on(code, extras):
    """Whether ``**extras`` is used in calls ``f(..., **extras)`` only."""
    steps = list(dis.get_instructions(code))
    return all(
        after.opname in ("DICT_MERGE", "CALL_FUNCTION_EX")
        for i, after in itertools.pairwise(steps)
        if i.opname.startswith("LOAD") and (i.argval == extras or _holds(i.argval, extras))
    )


def _called(function):
    """Python functions that the code of `function` names, in modules and closures too."""
    names = set(function.__code__.co_names)
    values = [function.__globals__[n] for n in names if n in function.__globals__]
    for cell in function.__closure__ or ():
        try:
            values.append(cell.cell_contents)
        except ValueError:  # not filled yet
            return set()
    for module in [v for v in values if isinstance(v, types.ModuleType)]:
        values += [getattr(module, n) for n in names if isinstance(n, str) and hasattr(module, n)]
    return {v for v in values if isinstance(v, types.FunctionType)}


def _holds(value, name):
    return isinstance(value, tuple) and name in value


def may_take_batches(function):
    """Whether nothing in the code of `function` could treat a batch other than its rows.

    No branches, no reductions over everything, in it or in the Python functions it calls.
    """
    target, _ = _unwrap(function)
    return target is not None and _straight(target, set())


def _straight(function, seen):
    if function in seen:
        return True
    seen.add(function)
    codes = [function.__code__]
    while codes:
        code = codes.pop()
        codes += [c for c in code.co_consts if isinstance(c, types.CodeType)]
        if _MIXES_ROWS & set(code.co_names):
            return False
        for i in dis.get_instructions(code):
            if "POP_JUMP" in i.opname or "JUMP_IF" in i.opname:
                return False
        for name in code.co_names:
            called = function.__globals__.get(name)
            if isinstance(called, types.FunctionType) and not _straight(called, seen):
                return False
    return True


def by_rows(function, shape=None):
    """A transform of batches that calls `function` for each row.

    A row for which it raises ValueError becomes NaN: Prospector counts such vectors as
    impossible. `shape` is that of a row's result, needed only where all raise.
    """

    def rows(**values):
        count = max((len(v) for v in values.values()), default=1)
        fixed = {k: v[0] for k, v in values.items() if len(v) == 1}
        moving = {k: v for k, v in values.items() if len(v) > 1}
        out = []
        for i in range(count):
            try:
                value = function(**fixed, **{k: v[i] for k, v in moving.items()})
                out.append(np.atleast_1d(value))
            except ValueError:
                out.append(None)
        form = next((v.shape for v in out if v is not None), shape)
        if form is None:
            # Nothing to learn the shape from: show the error itself.
            function(**fixed, **{k: v[0] for k, v in moving.items()})
            form = (1,)
        return np.array([np.full(form, np.nan) if v is None else v for v in out])

    return rows


def batch_behind(function):
    """A transform of batches by one call with arrays ``(k, n)``, as ``massmet[0]`` expects."""

    def behind(**values):
        out = np.asarray(function(**{k: np.moveaxis(v, 0, -1) for k, v in values.items()}))
        return out[:, None] if out.ndim == 1 else np.moveaxis(out, -1, 0)

    return behind


def batch_in_front(function):
    """A transform of batches by one call with arrays ``(n, k)``."""
    return lambda **values: np.asarray(function(**values))


def same(run, given, expected, tolerance):
    """Whether `run` gives `expected` for the batch, for a part of it and in another order."""
    n = len(expected)
    for rows in (slice(None), slice(0, 7), slice(n - 1, None, -3), slice(2, 3)):
        part = {k: v[rows] if len(v) == n else v for k, v in given.items()}
        try:
            with np.errstate(all="ignore"):
                got = np.asarray(run(**part))
        except Exception:  # a transform is free to know single vectors only
            return False
        if got.shape != expected[rows].shape or not close(got, expected[rows], tolerance):
            return False
    return True


def close(a, b, tolerance):
    a, b = np.asarray(a), np.asarray(b)
    if a.dtype.kind in "fiub" and b.dtype.kind in "fiub":
        return np.allclose(a, b, rtol=tolerance, atol=0.0, equal_nan=True)
    return bool(np.all(a == b))
