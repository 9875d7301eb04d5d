"""Emulators side by side on one test set of FSPS samples."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from prospect_emu.errors import FilterError, ProspectEmuError
from prospect_emu.networks.emulator import Emulator
from prospect_emu.networks.loading import load_emulator
from prospect_emu.observe.filters import load_filters

from . import scores, timing
from .evaluate import residuals, table_of
from .generate import SampleStore


@dataclass(frozen=True)
class TestSet:
    """FSPS samples that emulators are compared with.

    Attributes
    ----------
    store : SampleStore
    theta : ndarray, shape (n, 18)
    maggies : ndarray, shape (n, nband)
    """

    __test__ = False  # pytest: no test

    store: object
    theta: np.ndarray
    maggies: np.ndarray

    @classmethod
    def read(cls, folder):
        """Read a folder of samples that `generate` made."""
        store = SampleStore.open(folder)
        data = store.load()
        return cls(store, data["theta"], data["maggies"])

    @property
    def filters(self):
        return self.store.recipe.filters

    @cached_property
    def bright(self):
        return scores.is_bright(self.maggies)

    @cached_property
    def waves(self):
        """Effective wavelengths, micron."""
        return np.array([f.wave_effective for f in load_filters(self.filters)]) / 1e4

    @property
    def libraries(self):
        return self.store.manifest["versions"].get("libraries")


@dataclass(frozen=True)
class Scored:
    """An emulator and its residuals on a test set.

    Attributes
    ----------
    label : str
    emulator : EmulatorBase
    residuals : ndarray, shape (n, nband)
        Emulator minus FSPS, arsinh magnitudes.
    test : TestSet
    """

    label: str
    emulator: object
    residuals: np.ndarray
    test: TestSet

    @cached_property
    def width(self):
        """Nodes per hidden layer; None for what is no network, or one of uneven layers."""
        return network_width(self.emulator)

    @cached_property
    def table(self):
        return table_of(self.test.filters, self.residuals)

    @cached_property
    def needed(self):
        return scores.error_needed(self.residuals, self.test.bright)

    @cached_property
    def history(self):
        """Standard deviation per bin of `scores.HISTORY_EDGES`, (4, nband)."""
        return scores.history_std(self.test.theta, self.residuals)[1]

    def numbers(self):
        """What the report says of it, for ``report.json``."""
        std, bias, r = self.table["std"], np.abs(self.table["bias"]), self.residuals
        ratio = np.median(self.history / self.history[0], axis=1)
        return {
            "width": self.width,
            "sha256": self.emulator.manifest.get("sha256"),
            "std_median": float(np.median(std)),
            "std_worst": float(std.max()),
            "std_worst_band": str(self.table["band"][np.argmax(std)]),
            "bias_worst": float(bias.max()),
            "bright_within_0.05": scores.share_within(r, self.test.bright),
            "reach": scores.reach(r).tolist(),
            "independent_bands": scores.independent_bands(r),
            "history_std": np.median(self.history, axis=1).tolist(),
            "history_ratio": ratio.tolist(),
            "good_enough_from": self.needed.error,
            "good_enough_from_std": self.needed.std,
            "good_enough_from_tail": self.needed.tail,
        }


def network_width(emulator):
    """Nodes per hidden layer of a network; None for other emulators and uneven layers."""
    if not isinstance(emulator, Emulator):
        return None
    hidden = set(emulator.flux_net.widths[1:-1])
    return hidden.pop() if len(hidden) == 1 else None


def read_emulators(names, test):
    """Load emulators and make sure that they are of a test set's bands.

    Parameters
    ----------
    names : sequence of str
        Bundled names or paths.
    test : TestSet

    Returns
    -------
    dict
        Label (the bundled name, or the file's without its ending): emulator.

    Raises
    ------
    FilterError
        If one has other bands than the test set.
    ProspectEmuError
        If two would have the same label.
    """
    found: dict = {}
    for name in names:
        emulator, label = load_emulator(name), Path(name).name.removesuffix(".safetensors")
        if label in found:
            raise ProspectEmuError(
                f"Two emulators would be called {label!r} in the report; rename one of the files."
            )
        if emulator.filters != test.filters:
            raise FilterError(
                f"{test.store.folder} holds other bands than emulator {label!r}; evaluate it on "
                "samples of its own recipe."
            )
        found[label] = emulator
    return found


def score(emulators, test):
    """Residuals of emulators, by label; a list of `Scored`."""
    return [
        Scored(n, e, residuals(e, test.theta, test.maggies), test) for n, e in emulators.items()
    ]


def time_all(emulators, test, tables=None, fsps=False):
    """Seconds per vector of everything that there is to time; see `timing.measure`.

    Parameters
    ----------
    emulators : dict
        Label: emulator.
    test : TestSet
    tables : path-like, optional
        ExactSPS's; timed in float32.
    fsps : bool
        Whether to time python-fsps.
    """
    cases = [c for n, e in emulators.items() for c in timing.emulator_cases(n, e, test.theta)]
    if tables is not None:
        from .engines import exact_emulator

        exact = exact_emulator(tables, load_filters(test.filters))
        cases += timing.emulator_cases("ExactSPS", exact, test.theta)
    if fsps:
        cases += timing.fsps_cases(test.store.recipe, test.theta)
    return timing.measure(cases)
