"""Emulators side by side on a test set of FSPS samples: a page in Markdown with its figures."""

import json
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import numpy as np

from prospect_emu.errors import FilterError, ProspectEmuError
from prospect_emu.files import check_writable, write_atomic
from prospect_emu.fit.plots import save
from prospect_emu.networks.emulator import Emulator
from prospect_emu.networks.loading import load_emulator
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters

from . import evaluate, evaluation_figures, timing
from .generate import SampleStore

PAGE, NUMBERS = "report.md", "report.json"
FLOOR = 0.05
# Micron; the ranges of the tables.
RANGES = ((0.0, 0.4), (0.4, 1.0), (1.0, 2.5), (2.5, 10.0), (10.0, 30.0), (30.0, 2e3))
MASSES = (6.0, 8.0, 10.0, 11.0, 12.5)


class TestSet:
    """FSPS samples that emulators are compared with: a folder that `generate` made.

    Attributes
    ----------
    store : SampleStore
    theta, maggies : ndarray, shape (n, 18), (n, nband)
    """

    __test__ = False  # pytest: no test

    def __init__(self, folder):
        self.store = SampleStore.open(folder)
        data = self.store.load()
        self.theta, self.maggies = data["theta"], data["maggies"]
        self.filters = self.store.recipe.filters
        self.bright = evaluate.is_bright(self.maggies)

    read = classmethod(lambda cls, folder: cls(folder))

    @cached_property
    def waves(self):
        """Effective wavelengths, micron."""
        return np.array([f.wave_effective for f in load_filters(self.filters)]) / 1e4


@dataclass(frozen=True)
class Scored:
    """An emulator and its residuals (n, nband) on a `TestSet`."""

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
        return evaluate.table_of(self.test.filters, self.residuals)

    @cached_property
    def numbers(self):
        """What the report says of it, for ``report.json``."""
        std, bias, r = self.table["std"], np.abs(self.table["bias"]), self.residuals
        needed = evaluate.error_needed(r, self.test.bright)
        history = evaluate.history_std(self.test.theta, r)[1]
        return {
            "width": self.width,
            "sha256": self.emulator.manifest.get("sha256"),
            "std_median": float(np.median(std)),
            "std_worst": float(std.max()),
            "std_worst_band": str(self.table["band"][np.argmax(std)]),
            "bias_worst": float(bias.max()),
            "bright_within_0.05": evaluate.share_within(r, self.test.bright),
            "reach": evaluate.reach(r).tolist(),
            "independent_bands": evaluate.independent_bands(r),
            "history_std": np.median(history, axis=1).tolist(),
            "history_ratio": np.median(history / history[0], axis=1).tolist(),
            "good_enough_from": needed.error,
            "good_enough_from_std": needed.std,
            "good_enough_from_tail": needed.tail,
        }


def network_width(emulator):
    """Nodes per hidden layer of a network; None for other emulators and uneven layers."""
    hidden = set(emulator.flux_net.widths[1:-1]) if isinstance(emulator, Emulator) else ()
    return hidden.pop() if len(hidden) == 1 else None


def read_emulators(names, test):
    """Emulators by label (the bundled name, or the file's without its ending).

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
    theta, maggies = test.theta, test.maggies
    return [Scored(n, e, evaluate.residuals(e, theta, maggies), test) for n, e in emulators.items()]


def time_all(emulators, test, tables=None, fsps=False):
    """`timing.measure` of emulators by label, of ExactSPS (if `tables`) and of python-fsps."""
    everything = dict(emulators)
    if tables is not None:
        from .engines import exact_emulator

        everything["ExactSPS"] = exact_emulator(tables, load_filters(test.filters))
    cases = [c for n, e in everything.items() for c in timing.emulator_cases(n, e, test.theta)]
    return timing.measure(
        cases + (timing.fsps_cases(test.store.recipe, test.theta) if fsps else [])
    )


def write_report(scored, seconds, folder, floor=FLOOR, overwrite=False):
    """Write ``report.md``, its folder, ``report.json`` and a table of bands per emulator.

    Parameters
    ----------
    scored : sequence of Scored
        All on one test set.
    seconds : dict
        Of `time_all`.
    folder : path-like
    floor : float
        Relative observational error that the answer is for.
    overwrite : bool

    Returns
    -------
    str
        The answer, as a sentence.

    Raises
    ------
    OutputError
        If there is a report already, or nothing can be written.
    """
    folder = Path(folder)
    check_writable(folder / PAGE, overwrite)
    test, numbers = scored[0].test, {s.label: s.numbers for s in scored}
    nets = [n for n in numbers.values() if n["width"] is not None]
    series = {k: np.array([n[k] for n in nets]) for k in ("width", "std_median", "std_worst")}
    widths = series.pop("width")
    laws = {k: evaluate.power_law(widths, y) for k, y in series.items()}
    sentence = answer(numbers, floor)
    body = [
        _head(test, sentence),
        _overview(numbers),
        *([_precision(widths, series, laws, floor, folder)] if nets else []),
        _times({s.label: s.width for s in scored}, seconds, folder),
        _histories(numbers, evaluate.history_std(test.theta, scored[0].residuals)[0], folder),
        *(_one(s, floor, folder) for s in scored),
    ]
    stored = {
        "samples": len(test.theta),
        "test_set": test.store.fingerprint,
        "floor": floor,
        "answer": sentence,
        "emulators": numbers,
        "power_laws": {k: law and [law.at_100, law.exponent, law.error] for k, law in laws.items()},
        "seconds_per_vector": [[*key, value] for key, value in seconds.items()],
    }
    write_atomic(folder / NUMBERS, json.dumps(_without_nan(stored), indent=1).encode())
    write_atomic(folder / PAGE, ("\n\n".join(body) + "\n").encode())
    return sentence


def answer(numbers, floor):
    """Which is the smallest network that is good enough for errors of `floor`: a sentence.

    `numbers` are `Scored.numbers` by label; ``width`` and ``good_enough_from`` are read.
    """
    widths = {label: n["width"] for label, n in numbers.items()}
    needed = {label: n["good_enough_from"] for label, n in numbers.items()}
    nets = {label: e for label, e in needed.items() if widths[label] is not None}
    text = f"For observational errors of {_percent(floor)} "
    smallest = evaluate.smallest_width(widths.values(), needed.values(), floor)
    if smallest is not None:
        error, chosen = min((e, n) for n, e in nets.items() if widths[n] == smallest)
        text += f"the smallest width that is good enough is {smallest} ({chosen}, good "
        text += f"enough from {_percent(error)})"
    elif nets:
        best = min(nets, key=nets.__getitem__)
        text += f"none of the networks is good enough: the best, {best} of width {widths[best]}, "
        text += f"is from {_percent(nets[best])}"
        law = evaluate.power_law([widths[n] for n in nets], list(nets.values()))
        if law is not None and not np.isnan(law.error) and law.exponent < 0.0:
            width = law.width(floor)
            if width > 10.0 * max(widths[n] for n in nets):
                text += " (their power law gets there at no width near these)"
            else:  # to two digits: it is an extrapolation
                about = f"{float(f'{width:.2g}'):g}"
                text += f" (their power law, extrapolated, would be at a width of about {about})"
    else:
        text += "there is no network here to choose a width of"
    good = [label for label, e in needed.items() if label not in nets and e <= floor]
    return text + (f"; {' and '.join(good)}, without a width, is good enough." if good else ".")


# ---- the page --------------------------------------------------------------------------


def _show(folder, title, name, figure):
    """Save a figure; the line that shows it."""
    save(figure, folder / name, dpi=110)
    return f"![{title}]({name})"


def _head(test, sentence):
    recipe = test.store.recipe
    z, drawn = recipe.zred_range, recipe.distribution.replace("_", " ")
    return (
        f"# Emulators against FSPS\n\n**{sentence}**\n\n"
        "An emulator is good enough for an observational error if (1) in every band the standard "
        "deviation of its residuals is at most a third of that error, which makes error bars 5 % "
        f"longer, and (2) {100 * evaluate.ERRORS_WITHIN:g} % of its residuals where FSPS is "
        f"brighter than AB {evaluate.BRIGHT:g}, all bands together, are at most that error. *Good "
        "enough from* is the smallest such error.\n\n"
        f"{len(test.theta):,} samples by FSPS itself, drawn {drawn} at {z[0]:g} < z < {z[1]:g}, "
        f"{len(test.filters)} bands. Residuals are emulator minus FSPS in arsinh magnitudes "
        "(u0 = 35)."
    )


def _overview(numbers):
    head = (
        "emulator | width | std, median band | std, worst band | worst \\|bias\\| | AB < "
        f"{evaluate.BRIGHT:g}: errors under 0.05 | 1, 2, 3, 4 σ reach | good enough from"
    )
    rows = [
        (label, n["width"] or "–", f"{n['std_median']:.2g}",
         f"{n['std_worst']:.2g} ({n['std_worst_band']})", f"{n['bias_worst']:.2g}",
         f"{100 * n['bright_within_0.05']:.2f} %", ", ".join(f"{x:.2g}" for x in n["reach"]),
         f"{_percent(n['good_enough_from'])} (std {_percent(n['good_enough_from_std'])}, "
         f"large errors {_percent(n['good_enough_from_tail'])})")
        for label, n in numbers.items()
    ]  # fmt: skip
    return _table(head, rows) + (
        "\n\n*Reach*: so many standard deviations hold 68.3, 95.4, 99.73 and 99.994 % of the "
        "residuals; 1, 2, 3, 4 if they were Gaussian."
    )


def _precision(widths, stds, laws, floor, folder):
    shown = evaluation_figures.width_figure(widths, stds.values(), laws.values(), floor)
    said = [
        f"{name} {law.at_100:.2g} mag at width 100, ∝ width^{law.exponent:.2f}"
        + (f" ± {law.error:.2f}" if np.isfinite(law.error) else "")
        for name, law in zip(("median band", "worst band"), laws.values(), strict=True)
        if law is not None
    ]
    text = "Least squares: " + "; ".join(said) if said else "A power law needs two widths"
    title = "Precision against width"
    return f"## {title}\n\n{_show(folder, title, 'widths.png', shown)}\n\n{text}."


def _times(widths, seconds, folder):
    shown = _show(
        folder, "Time per vector", "times.png", evaluation_figures.time_figure(widths, seconds)
    )
    kinds = [(b, fixed) for fixed in (False, True) for b in timing.BATCHES]
    rows = [
        (label, widths.get(label) or "–",
         *(f"{1e6 * seconds[(label, *k)]:.3g}" if (label, *k) in seconds else "–" for k in kinds))
        for label in dict.fromkeys(label for label, _, _ in seconds)
    ]  # fmt: skip
    head = " | width | " + " | ".join(
        f"batch {b}, {'one redshift' if fixed else 'any redshift'}" for b, fixed in kinds
    )
    absent = [n for n in ("FSPS", "ExactSPS") if (n, 1, False) not in seconds]
    verb = "was" if len(absent) == 1 else "were"
    note = f" {' and '.join(absent)} {verb} not timed." if absent else ""
    return (
        f"## Time per vector\n\n{shown}\n\nMicroseconds of processor time "
        "per parameter vector and all bands, one thread, all in turns in one run, fastest call. "
        "*One redshift*: what depends on redshift alone is prepared, as in a fit."
        f"{note}\n\n" + _table(head, rows)
    )


def _histories(numbers, count, folder):
    std, ratio = (
        {k: n[f"history_{what}"] for k, n in numbers.items()} for what in ("std", "ratio")
    )
    figure = evaluation_figures.history_figure(count, std, ratio)
    shown = _show(folder, "Tails", "histories.png", figure)
    bins = zip(pairwise(evaluate.HISTORY_EDGES), count, strict=True)
    head = ["largest abs(logsfr_ratio)", *(f"{a:g}–{b:g} ({n:,})" for (a, b), n in bins)]
    rows = [(k, *map(_std_and_ratio, std[k], ratio[k])) for k in numbers]
    return (
        f"## Tails of the star-formation histories\n\n{shown}\n\nStandard deviation, median of "
        "the bands (and relative to the first column, median of the bands); in brackets above, "
        "samples.\n\n" + _table(" | ".join(head), rows)
    )


def _std_and_ratio(std, ratio):
    if np.isnan(std):
        return "too few"
    return f"{std:.2g}" + ("" if np.isnan(ratio) else f" ({ratio:.2f})")


def _one(s, floor, folder):
    """The section of one emulator."""
    r, waves, theta, draw = s.residuals, s.test.waves, s.test.theta, evaluation_figures
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in s.label)
    made = {
        "bands": ("Errors per band", draw.band_figure(waves, r, floor)),
        "distribution": ("Distribution of errors", draw.distribution_figure(r)),
        "correlation": ("Correlation of bands", draw.correlation_figure(waves, r)),
        "parameters": ("Errors against parameters", draw.parameter_figure(theta, r)),
    }
    table = s.table.copy()
    table.add_column(waves, name="wavelength [micron]", index=1)
    table.write(folder / f"{name}-bands.ecsv", format="ascii.ecsv", overwrite=True)
    about = f"Emulator of {s.emulator.libraries}, SHA-256 {str(s.numbers['sha256'])[:12]}."
    made_with = (
        m["versions"].get("libraries") for m in (s.emulator.manifest, s.test.store.manifest)
    )
    if len({*map(str, made_with)}) > 1:
        about += (
            " **Its FSPS libraries are not those of the test set**: residuals hold the difference."
        )
    rows = []
    for low, high in RANGES:
        part = s.table[(waves >= low) & (waves < high)]
        if len(part):
            i, bias = np.argmax(part["std"]), np.abs(part["bias"]).max()
            stds = f"{np.median(part['std']):.2g}", f"{part['std'][i]:.2g}"
            rows.append((f"{low:g}–{high:g}", len(part), *stds, part["band"][i], f"{bias:.2g}"))
    head = "wavelength [μm] | bands | median std | worst std | worst band | worst \\|bias\\|"
    return "\n\n".join(
        [f"## {s.label}", f"{about} Every band: [{name}-bands.ecsv]({name}-bands.ecsv).",
         _table(head, rows), _ranges(theta, r),
         *(_show(folder, title, f"{name}-{k}.png", figure) for k, (title, figure) in made.items())]
    )  # fmt: skip


def _ranges(theta, r):
    """Standard deviation in ranges of mass and redshift relative to all, median of the bands."""
    rows, all_std = [], r.std(axis=0, ddof=1)
    for name, edges in (("logmass", MASSES), ("zred", None)):
        x = theta[:, PARAMETERS.index(name)]
        if edges is None:
            edges = np.linspace(x.min(), x.max(), 6)
        for (a, b), n, std in zip(pairwise(edges), *evaluate.binned_std(x, r, edges), strict=True):
            shown = "too few" if np.isnan(std[0]) else f"{np.median(std / all_std):.2f}"
            rows.append((f"{name} {a:.3g}–{b:.3g}", f"{n:,}", shown))
    return _table("samples with | number | std relative to that of all", rows)


def _table(head, rows):
    # A bar inside a cell would end it.
    lines = [" | ".join(str(c).replace("|", "\\|") for c in row) for row in rows]
    rule = " | ".join(["---"] * (head.replace("\\|", "").count("|") + 1))
    return "\n".join(f"| {line} |" for line in (head, rule, *lines))


def _without_nan(x):
    """For JSON, which has no nan: what too few samples tell nothing about is null there."""
    if isinstance(x, dict):
        return {k: _without_nan(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_without_nan(v) for v in x]
    return None if isinstance(x, float) and np.isnan(x) else x


def _percent(x):
    return f"{100 * x:.2g} %"
