"""The state of a dynesty sampler as arrays and JSON, and back.

dynesty's own checkpoints are pickles, which execute code when they are loaded.
Here a sampler is taken apart into numbers, arrays, containers and objects of
dynesty's own classes; putting it together creates such objects without calling
anything of theirs, and takes functions from a sampler that was made anew.
"""

import enum
import importlib
import re

import numpy as np

from ..errors import ModelFileError

_MODULES = (
    "bounding", "dynamicsampler", "dynesty", "internal_samplers", "nestedsamplers", "sampler",
    "utils",
)  # fmt: skip
# What a sampler keeps of its own methods, and dynesty of its functions, in attributes.
_METHOD = re.compile(r"(propose|update)_\w+|map")
_FUNCTION = re.compile(r"sample_\w+")
# Shorter lists of numbers are written into the JSON.
_SHORT = 8


def take_apart(sampler, given):
    """The state of a sampler.

    Parameters
    ----------
    sampler : dynesty.DynamicNestedSampler
    given : dict of str to object
        What belongs to the program and not to the state: likelihood, prior
        transform, pool.

    Returns
    -------
    tensors : dict of ndarray
    tree : JSON-serialisable
        Refers to the tensors by name.

    Raises
    ------
    TypeError
        If the sampler holds something of an unknown kind.
    """
    writer = _Writer(_known(sampler, given))
    return writer.tensors, writer.encode(vars(sampler))


def put_together(sampler, given, tensors, tree):
    """Give a sampler that was made anew the state of another one.

    Parameters
    ----------
    sampler : dynesty.DynamicNestedSampler
        Made with the same settings; changed in place.
    given : dict of str to object
        As in `take_apart`, of the new sampler.
    tensors, tree
        From `take_apart`.

    Raises
    ------
    ModelFileError
        If the state was not written by `take_apart` with this version of dynesty.
    """
    try:
        state = _Reader(_known(sampler, given), tensors).decode(tree)
        known = set(vars(sampler))
        if not known <= set(state):
            raise KeyError(min(known - set(state)))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError, RecursionError) as err:
        raise ModelFileError(
            f"The checkpoint holds no state of this sampler ({type(err).__name__}: {err}); delete "
            "it and start again."
        ) from err
    vars(sampler).update(state)


def _known(sampler, given):
    return {**given, "sampler": sampler, "builtin map": map}


class _Writer:
    def __init__(self, given):
        self.given = {id(v): k for k, v in given.items()}
        self.tensors: dict = {}
        self.seen: dict = {}
        self.columns: dict = {}
        # An id is an object's own only as long as the object lives.
        self.kept: list = []

    def encode(self, x):
        if x is None or isinstance(x, (bool, int, float, str)):
            return x
        if isinstance(x, np.generic):
            return x.item()
        if isinstance(x, enum.Enum):
            return {"enum": _path(type(x)), "name": x.name}
        if id(x) in self.given:
            return {"given": self.given[id(x)]}
        if id(x) in self.seen:
            return {"same": self.seen[id(x)]}
        if hasattr(x, "__func__") and hasattr(x, "__self__"):
            return {"method": x.__name__, "of": self.encode(x.__self__)}
        if getattr(x, "__module__", "") == "dynesty.sampling" and callable(x):
            return {"function": x.__name__}
        if isinstance(x, tuple):
            items = [self.encode(v) for v in x]
            name = _path(type(x)) if hasattr(x, "_fields") else None
            return {"tuple": items, "class": name}
        number = self.seen[id(x)] = len(self.seen)
        self.kept.append(x)
        return {"number": number, **self._shared(x)}

    def _shared(self, x):
        """Objects that several others may hold."""
        if isinstance(x, np.ndarray) and x.dtype != object:
            # The order in memory decides how a matrix product is rounded.
            fortran = x.flags.f_contiguous and not x.flags.c_contiguous
            return {"array": self._store(x), "order": "F" if fortran else "C"}
        if isinstance(x, np.random.Generator):
            return {"generator": x.bit_generator.state, "class": type(x.bit_generator).__name__}
        if isinstance(x, dict):
            return {"dict": [[str(k), self.encode(v)] for k, v in x.items()]}
        if isinstance(x, list):
            return {"list": self._list(x)}
        if isinstance(x, np.ndarray):
            return {"objects": self._list(list(x.flat)), "shape": list(x.shape)}
        if not type(x).__module__.startswith("dynesty."):
            raise TypeError(f"a {_path(type(x))} is not a part of a sampler's state")
        return {"object": _path(type(x)), "attributes": self.encode(vars(x))}

    def _list(self, x):
        if len(x) < _SHORT:
            return [self.encode(v) for v in x]
        if all(v is None for v in x):
            return {"nones": len(x)}
        kinds = {type(v) for v in x}
        if kinds <= {int, float, np.float64, np.int64}:
            return {"numbers": self._column(x)}
        if kinds == {np.ndarray} and len({(v.dtype.str, v.shape) for v in x}) == 1:
            return {"rows": self._column(x)}
        if kinds <= {dict, type(None)}:
            keys = {tuple(v) for v in x if v is not None}
            values = [w for v in x if v is not None for w in v.values()]
            if len(keys) == 1 and {type(w) for w in values} <= {int, np.int64}:
                (names,) = keys
                there = self._store(np.array([v is not None for v in x]))
                table = self._store(np.array(values, dtype=np.int64).reshape(-1, len(names)))
                return {"records": list(names), "there": there, "table": table}
        return [self.encode(v) for v in x]

    def _column(self, x):
        """Two records of a run hold the same points: one array serves both."""
        key = tuple(map(id, x))
        if key not in self.columns:
            self.columns[key] = self._store(np.array(x))
        return self.columns[key]

    def _store(self, array):
        name = f"t{len(self.tensors)}"
        self.tensors[name] = array
        return name


class _Reader:
    def __init__(self, given, tensors):
        self.given = given
        self.tensors = tensors
        self.made: dict = {}

    def decode(self, x):
        if not isinstance(x, dict):
            if isinstance(x, list):
                raise TypeError("a bare list")
            return x
        if "number" in x:
            return self._shared(x)
        if "same" in x:
            return self.made[x["same"]]
        if "given" in x:
            return self.given[x["given"]]
        if "enum" in x:
            return _class(x["enum"], enum.Enum)[x["name"]]
        if "method" in x:
            owner, name = self.decode(x["of"]), x["method"]
            if not _METHOD.fullmatch(name) or name not in dir(type(owner)):
                raise ValueError(f"method {name}")
            return getattr(owner, name)
        if "function" in x:
            if not _FUNCTION.fullmatch(x["function"]):
                raise ValueError(f"function {x['function']}")
            return getattr(importlib.import_module("dynesty.sampling"), x["function"])
        items = [self.decode(v) for v in x["tuple"]]
        return tuple(items) if x["class"] is None else _class(x["class"], tuple)(*items)

    def _shared(self, x):
        number = x["number"]
        if "object" in x:
            cls = _class(x["object"])
            out = self.made[number] = object.__new__(cls)
            vars(out).update(self.decode(x["attributes"]))
            return out
        if "dict" in x:
            out = self.made[number] = {}
            out.update((k, self.decode(v)) for k, v in x["dict"])
            return out
        if "list" in x:
            out = self.made[number] = []
            out.extend(self._list(x["list"]))
            return out
        if "objects" in x:
            out = self.made[number] = np.empty(x["shape"], dtype=object)
            for i, value in enumerate(self._list(x["objects"])):
                out.flat[i] = value
            return out
        if "array" in x:
            out = self.made[number] = self.tensors[x["array"]].copy(order=x["order"])
            return out
        generator = np.random.Generator(
            {"PCG64": np.random.PCG64, "MT19937": np.random.MT19937}[x["class"]]()
        )
        generator.bit_generator.state = x["generator"]
        self.made[number] = generator
        return generator

    def _list(self, x):
        if isinstance(x, list):
            return [self.decode(v) for v in x]
        if "nones" in x:
            return [None] * x["nones"]
        if "numbers" in x:
            return self.tensors[x["numbers"]].tolist()
        if "rows" in x:
            return list(self.tensors[x["rows"]].copy())
        rows = iter(self.tensors[x["table"]].tolist())
        names, there = x["records"], self.tensors[x["there"]].tolist()
        return [dict(zip(names, next(rows), strict=True)) if t else None for t in there]


def _path(cls):
    return f"{cls.__module__}.{cls.__qualname__}"


def _class(path, base=object):
    """One of dynesty's own classes."""
    module, _, name = path.rpartition(".")
    if module not in {f"dynesty.{m}" for m in _MODULES}:
        raise ValueError(f"class {path}")
    cls = getattr(importlib.import_module(module), name)
    if not (isinstance(cls, type) and issubclass(cls, base) and cls.__module__ == module):
        raise ValueError(f"class {path}")
    return cls
