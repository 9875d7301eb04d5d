"""Prospector's parameter files: Python that builds obs, model, sps and noise.

Such a file is a program of its user's, who asks for it to be run; its functions are called
as Prospector's scripts call them, with our SPS in place of FSPS's.
"""

import argparse
import ast
import importlib.util
import inspect
import sys
import warnings
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from prospect import prospect_args

from ..errors import SetupError
from .drop_in import EmulatorSPS, NetworkSPS
from .version import adapter

# Older scripts' names of the same functions.
_NAMES = {
    "obs": ("build_obs", "load_obs"),
    "model": ("build_model", "load_model"),
    "noise": ("build_noise", "load_gp"),
    "sps": ("build_sps", "load_sps"),
}
_BASES = ("FastStepBasis", "CSPSpecBasis")
_TYPES = {"int": int, "float": float, "str": str}
# Samplers that scripts choose; here it is always nested sampling.
CHOICES = ("emcee", "optimize", "dynesty", "nested")


class ParameterFile:
    """A parameter file and its options.

    Parameters
    ----------
    path : path-like
    options : sequence of str
        As on the script's own command line: Prospector's, those that the file adds to its
        parser, and ``--key=value`` of its ``run_params`` and of what its functions take.

    Attributes
    ----------
    run_params : dict
    chosen : frozenset of str
        Names that the file's ``run_params`` or `options` set, as opposed to defaults of
        Prospector's parser.

    Raises
    ------
    SetupError
        If the file cannot be run, or has no ``build_obs`` and ``build_model``.
    """

    def __init__(self, path, options=()):
        self.path = Path(path)
        try:
            tree = ast.parse(self.path.read_bytes())
        except (OSError, SyntaxError, ValueError) as err:
            raise SetupError(f"{path} cannot be read as Python ({err}).") from err
        with emulated_bases():
            self._module = _execute(self.path, options)
        if not hasattr(self._module, "build_all"):
            for what in ("obs", "model"):
                if self._function(what) is None:
                    raise SetupError(
                        f"{path} has no function {_NAMES[what][0]}; a parameter file of Prospector "
                        "has build_obs, build_model and build_sps."
                    )
        own = dict(getattr(self._module, "run_params", {}))
        parser = prospect_args.get_parser()
        _add_arguments(parser, tree)
        _add_keys(parser, own)
        for what in _NAMES:
            _add_parameters(parser, self._function(what))

        def refuse(message):
            raise SetupError(f"{path}, its own options: {message}.")

        parser.error = refuse
        given = vars(parser.parse_args(list(options)))
        defaults = vars(parser.parse_args([]))
        chosen = {k for k, v in given.items() if k not in defaults or v != defaults[k]}
        self.run_params = {**given, **own, **{k: given[k] for k in chosen}}
        self.run_params["param_file"] = str(self.path)
        self.chosen = frozenset({*own, *chosen})

    def _function(self, what):
        found = (getattr(self._module, name, None) for name in _NAMES[what])
        return next((f for f in found if f is not None), None)

    def build(self, sps=None):
        """Call the file's functions.

        Parameters
        ----------
        sps : object, optional
            In place of what the file's ``build_sps`` returns, where `FastStepBasis` and
            `CSPSpecBasis` are `EmulatorSPS`.

        Returns
        -------
        obs, model, sps, noise
        """
        sps = self._sps() if sps is None else sps
        module = self._module
        # What its other functions call: of mocks, and of `build_all`.
        for name in _NAMES["sps"]:
            if hasattr(module, name):
                setattr(module, name, lambda *args, **extras: sps)
        if hasattr(module, "build_all"):
            # Prospector 2 has no noise apart.
            obs, model, _, *noise = self._call(module.build_all)
            noise = noise[0] if noise else (None, None)
        else:
            obs = self._call(self._function("obs"))
            model = self._call(self._function("model"))
            build_noise = self._function("noise")
            called = None if build_noise is None else partial(self._call, build_noise)
            obs, noise = adapter.noise_of_file(called, obs)
        return obs, model, sps, noise or (None, None)

    def _sps(self):
        """The file's own, or `EmulatorSPS()` where it has none or it needs FSPS itself."""
        function = self._function("sps")
        if function is None:
            return EmulatorSPS()
        try:
            with emulated_bases():
                sps = self._call(function)
        except (SetupError, SystemExit) as err:
            warnings.warn(f"{err}; EmulatorSPS() takes its place.", stacklevel=3)
            return EmulatorSPS()
        return sps if isinstance(sps, (EmulatorSPS, NetworkSPS)) else EmulatorSPS()

    def model_at(self, zred):
        """The file's model of a galaxy at a redshift, for one of many.

        ``build_model`` is called with it as ``zred`` and ``object_redshift``. A free redshift
        stays free; with None it must be.

        Raises
        ------
        SetupError
            If the model has another redshift, or a luminosity distance, which is one galaxy's.
        """
        function = self._function("model")
        if function is None:
            raise SetupError(f"{self.path} has no function build_model, which a campaign calls.")
        model = self._call(function, zred=zred, object_redshift=zred)
        tied = model.config_dict.get("zred", {}).get("depends_on")  # to a joint prior
        if "zred" in model.free_params or (zred is None and tied):
            return model
        if zred is None:
            raise SetupError(
                f"build_model of {self.path} fixes zred, and the galaxy has a prior of its "
                "redshift; make it free where the argument zred is None."
            )
        given = float(np.squeeze(model.params.get("zred", 0.0)))
        if not np.isclose(given, zred, rtol=1e-6):
            raise SetupError(
                f"build_model of {self.path} gives zred = {given:g} where {zred:g} was asked for; "
                "let it take the redshift from its argument zred or object_redshift."
            )
        if "lumdist" in model.params:
            raise SetupError(
                f"build_model of {self.path} sets lumdist, the distance of one galaxy; leave it "
                "out, so that the distance follows from each redshift."
            )
        return model

    def _call(self, function, *given, **more):
        settings = {**self.run_params, **more}
        takes = inspect.signature(function).parameters
        if not any(p.kind is p.VAR_KEYWORD for p in takes.values()):
            settings = {k: v for k, v in settings.items() if k in takes}
        try:
            return function(*given, **settings)
        except Exception as err:
            raise SetupError(
                f"{function.__name__} of {self.path} ended with {type(err).__name__}: {err}"
            ) from err


@contextmanager
def emulated_bases():
    """Within it `EmulatorSPS` is what Prospector calls `FastStepBasis` and `CSPSpecBasis`."""
    before = []
    for module in [m for n, m in sys.modules.items() if n.startswith("prospect.sources")]:
        before += [(module, k, getattr(module, k)) for k in _BASES if hasattr(module, k)]
    try:
        for module, name, _ in before:
            setattr(module, name, EmulatorSPS)
        yield
    finally:
        for module, name, original in before:
            setattr(module, name, original)


def _execute(path, options):
    """The file as a module, with its folder and arguments as a script has them."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise SetupError(f"{path} is not a Python file; give a parameter file of Prospector.")
    module = importlib.util.module_from_spec(spec)
    before = sys.argv, list(sys.path)
    sys.argv = [str(path), *options]
    sys.path.insert(0, str(path.resolve().parent))
    stub = _without_fsps()
    # Classes of the file can be found again, as pickling asks.
    sys.modules.setdefault(path.stem, module)
    try:
        spec.loader.exec_module(module)
    except Exception as err:
        raise SetupError(
            f"{path} cannot be run: {type(err).__name__}: {err} (from importing it; a parameter "
            "file fits only below `if __name__ == '__main__'`)."
        ) from err
    finally:
        sys.argv, sys.path = before
        if stub and sys.modules.get("fsps") is stub:
            del sys.modules["fsps"]
    return module


def _without_fsps():
    """Let the file import fsps where it is not installed, or SPS_HOME is not set."""
    try:
        import fsps  # noqa: F401
    except (ImportError, RuntimeError):
        stub: Any = ModuleType("fsps")

        def missing(name):
            if name.startswith("__"):
                raise AttributeError(name)
            raise SetupError(
                f"the parameter file uses fsps.{name}, but python-fsps is not installed here; "
                "install it with prospect_emu[fsps], or remove its use."
            )

        stub.__getattr__ = missing
        # Scripts print it.
        stub.__version__ = "not installed"
        sys.modules["fsps"] = stub
        return stub
    return None


def _add_arguments(parser, tree):
    """Options that the file adds to its parser, wherever it does."""
    for node in ast.walk(tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
            continue
        if node.func.attr != "add_argument":
            continue
        try:
            flags = [ast.literal_eval(a) for a in node.args]
        except ValueError:
            continue
        settings = {}
        for keyword in node.keywords:
            if keyword.arg == "type" and isinstance(keyword.value, ast.Name):
                settings["type"] = _TYPES.get(keyword.value.id, _value)
            elif keyword.arg not in (None, "help", "type"):
                try:
                    settings[keyword.arg] = ast.literal_eval(keyword.value)
                except ValueError:
                    continue
        flags = [f for f in flags if isinstance(f, str) and f.startswith("-")]
        if flags and not any(f in parser._option_string_actions for f in flags):
            parser.add_argument(*flags, **settings)


def _add_keys(parser, run_params):
    """``--key=value`` of ``run_params``, and Prospector's options by fit_model's names."""
    for action in list(parser._actions):
        if action.option_strings and f"--{action.dest}" not in parser._option_string_actions:
            parser.add_argument(
                f"--{action.dest}", dest=action.dest, type=action.type or _value,
                default=argparse.SUPPRESS,
            )  # fmt: skip
    for key, value in run_params.items():
        if f"--{key}" in parser._option_string_actions:
            continue
        parser.add_argument(f"--{key}", type=_value, default=value)


def _add_parameters(parser, function):
    """``--name=value`` of what a function asks for; left out where it is not given."""
    if function is None:
        return
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is not parameter.VAR_KEYWORD:
            if f"--{name}" not in parser._option_string_actions:
                parser.add_argument(f"--{name}", type=_value, default=argparse.SUPPRESS)


def _value(text):
    """A number, list, truth value or None where the text is one; else the text."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text
