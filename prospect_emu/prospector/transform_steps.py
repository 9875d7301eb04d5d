"""Transforms of a Prospector model as steps: what each reads, and its known form."""

import functools
import inspect
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import unknown_transforms as unknown
from .transforms import vectorised


@dataclass
class Step:
    """One evaluation of a transform: `run` of the parameters `reads` gives `name`."""

    name: str
    function: Any
    reads: tuple
    run: Any = None
    bound: Any = None


def step_of(name, function, names):
    """A transform with the parameters that it reads."""
    known_as, keywords = inner(function), {}
    outer = function
    while isinstance(outer, functools.partial):
        # Arguments of a call go before those of a partial.
        keywords = {**outer.keywords, **keywords}
        outer = outer.func
    fast, known = vectorised(known_as)
    if fast is None or (isinstance(function, functools.partial) and function.args):
        reads = unknown.reads(function, names)
        return Step(name, function, tuple(sorted(reads)), bound=lambda f: f)
    inputs = getattr(fast, "inputs", None) or tuple(inspect.signature(fast).parameters)
    defaults = {
        k: p.default
        for k, p in inspect.signature(known).parameters.items()
        if p.default is not p.empty and p.default is not None
    }
    given = {k: v for k, v in {**defaults, **keywords}.items() if k in inputs and k not in names}
    given = {k: np.atleast_1d(v)[None] for k, v in given.items()}
    reads = tuple(k for k in inputs if k in names)
    return Step(name, function, reads, bound=lambda f: functools.partial(f, **given))


def inner(function):
    """What a partial without arguments by position calls."""
    while isinstance(function, functools.partial) and not function.args:
        function = function.func
    return function


def name_of(function):
    """For messages."""
    function = inner(function)
    return getattr(function, "__name__", type(function).__name__)
