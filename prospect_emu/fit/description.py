"""What a fit is, in words and numbers that JSON knows."""

import platform
from importlib.metadata import PackageNotFoundError, version

import numpy as np

_PACKAGES = (
    "prospect_emu", "astro-prospector", "astro-sedpy", "dynesty", "numpy", "scipy", "h5py",
)  # fmt: skip


def describe_model(model):
    """Free parameters with their priors and fixed ones with their values, for JSON."""
    out = {}
    for name, entry in model.config_dict.items():
        if "depends_on" in entry:
            function = entry["depends_on"]
            path = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
            out[name] = {"depends_on": ".".join(path) if None not in path else repr(function)}
        elif entry.get("isfree"):
            prior = entry["prior"]
            settings = {k: plain(v) for k, v in getattr(prior, "params", {}).items()}
            out[name] = {"prior": type(prior).__name__, **settings}
        else:
            out[name] = {"value": plain(np.squeeze(model.params[name]))}
    return out


def package_versions():
    """Versions of Python and of the packages a result depends on."""
    out = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "not installed"
    return out


def plain(value):
    """The value in types that JSON knows; text for any other."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return plain(value.tolist())
    return value if value is None or isinstance(value, (str, bool, int, float)) else repr(value)
