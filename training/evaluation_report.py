"""Emulators side by side on a test set of FSPS samples: a page in Markdown with its figures."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from prospect_emu.errors import FilterError, ProspectEmuError
from prospect_emu.files import check_writable, save_figure, write_atomic
from prospect_emu.networks.loading import load_emulator
from prospect_emu.observe.filters import load_filters

from . import evaluation_figures, timing
from .evaluate import BRIGHT, ERRORS_WITHIN, Residuals
from .generate import SampleStore

PAGE, NUMBERS = "report.md", "report.json"
FLOOR = 0.05
_DEFINITIONS = f"""Residuals are emulator minus FSPS in arsinh magnitudes (u0 = 35). An emulator is
good enough for an observational error if (1) in every band the standard deviation of its residuals
is at most a third of that error, which makes error bars 5 % longer, and (2)
{100 * ERRORS_WITHIN:g} % of its residuals where FSPS is brighter than AB {BRIGHT:g}, all bands
together, are at most that error. *Good enough from* is the smallest such error. *Reach*: that many
standard deviations hold 68.3, 95.4, 99.73 and 99.994 % of the residuals; 1, 2, 3, 4 if they were
Gaussian. *History std*: where the largest abs(logsfr_ratio) is 0-1, 1-2, 2-3, 3-5, median of the
bands; *history ratio*: relative to the first."""
_TIMES = """Microseconds of processor time per parameter vector and all bands, one thread, all in
turns in one run, fastest call. *One redshift*: what depends on redshift alone is prepared, as in a
fit."""


@dataclass(frozen=True)
class Scored:
    """An emulator and its `Residuals` on samples `theta` (n, 18)."""

    label: str
    emulator: object
    residuals: Residuals
    theta: np.ndarray

    @cached_property
    def width(self):
        """Nodes per hidden layer; None for what is not a network, or one of uneven layers."""
        net = getattr(self.emulator, "flux_net", None)
        hidden = set(net.widths[1:-1]) if net is not None else ()
        return hidden.pop() if len(hidden) == 1 else None

    @cached_property
    def numbers(self):
        """What the report says of it, for ``report.json``."""
        r = self.residuals
        history = r.by_history(self.theta)[1]
        by_std, by_tail = r.needed
        return {
            "width": self.width,
            "sha256": self.emulator.manifest.get("sha256"),
            "std_median": float(np.median(r.std)),
            "std_worst": float(r.std.max()),
            "std_worst_band": r.filters[np.argmax(r.std)],
            "bias_worst": float(np.abs(r.bias).max()),
            "bright_within_0.05": r.within(0.05),
            "reach": r.reach.tolist(),
            "independent_bands": r.independent_bands,
            "history_std": np.median(history, axis=1).tolist(),
            "history_ratio": np.median(history / history[0], axis=1).tolist(),
            "good_enough_from": max(r.needed),
            "good_enough_from_std": by_std,
            "good_enough_from_tail": by_tail,
        }


def evaluate(names, samples):
    """Emulators, by name or file, against the samples in a folder: list of `Scored`, and store.

    Raises
    ------
    FilterError
        If one has other bands than the test set.
    ProspectEmuError
        If two would have the same label: the bundled name, or the file's without its ending.
    """
    store = SampleStore.open(samples)
    emulators: dict = {}
    for name in names:
        emulator, label = load_emulator(name), Path(name).name.removesuffix(".safetensors")
        if label in emulators:
            raise ProspectEmuError(
                f"Two emulators would be called {label!r} in the report; rename one of the files."
            )
        if emulator.filters != store.recipe.filters:
            raise FilterError(
                f"{store.folder} holds other bands than emulator {label!r}; evaluate it on "
                "samples of its own recipe."
            )
        emulators[label] = emulator
    data = store.load()
    theta, maggies = data["theta"], data["maggies"]
    return [
        Scored(label, e, Residuals.of(e, theta, maggies), theta) for label, e in emulators.items()
    ], store


def time_all(scored, store, tables=None, fsps=False):
    """`timing.measure` of emulators, of ExactSPS (if `tables`) and of python-fsps."""
    everything, theta = {s.label: s.emulator for s in scored}, scored[0].theta
    if tables is not None:
        from .engines import exact_emulator

        everything["ExactSPS"] = exact_emulator(tables, load_filters(store.recipe.filters))
    cases = [c for n, e in everything.items() for c in timing.emulator_cases(n, e, theta)]
    return timing.measure(cases + (timing.fsps_cases(store.recipe, theta) if fsps else []))


def write_report(scored, store, seconds, folder, floor=FLOOR, overwrite=False):
    """Write ``report.md``, its figures, ``report.json`` and a table of bands per emulator.

    Parameters
    ----------
    scored : sequence of Scored
        All on one test set.
    store : SampleStore
        The test set.
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
    numbers, theta, recipe = {s.label: s.numbers for s in scored}, scored[0].theta, store.recipe
    waves = np.array([f.wave_effective for f in load_filters(recipe.filters)]) / 1e4
    sentence, laws = answer(numbers, floor), _laws(numbers)
    counts = scored[0].residuals.by_history(theta)[0]
    drawn = evaluation_figures.comparison_figure(numbers, laws, seconds, counts, floor)
    save_figure(drawn, folder / "comparison.png", dpi=110)
    times: dict = {}
    for (label, batch, fixed), value in seconds.items():
        kind = f"batch {batch}, {'one' if fixed else 'any'} redshift"
        times.setdefault(label, {})[kind] = 1e6 * value
    absent = [n for n in ("FSPS", "ExactSPS") if n not in times]
    body = [
        f"# Emulators against FSPS\n\n**{sentence}**",
        _DEFINITIONS,
        "{:,} samples by FSPS itself, drawn {} at {:g} < z < {:g}, {} bands.".format(
            len(theta), recipe.distribution.replace("_", " "), *recipe.zred_range, waves.size
        ),
        _table(numbers),
        "![Precision, time and tails](comparison.png)",
        *(
            f"Least squares, {name}: {np.exp(level):.2g} mag at width 100, ∝ width^{slope:.2f}"
            + ("." if np.isnan(error) else f" ± {error:.2f}.")
            for name, (slope, level, error) in laws.items()
        ),
        _TIMES + (f" Not timed: {', '.join(absent)}." if absent else ""),
        _table(times),
        *_learning(scored, folder),
        *(part for s in scored for part in _one(s, store, waves, folder, floor)),
    ]
    stored = {
        "samples": len(theta),
        "test_set": store.fingerprint,
        "floor": floor,
        "answer": sentence,
        "emulators": numbers,
        "history_samples": counts.tolist(),
        "power_laws": laws,
        "seconds_per_vector": [[*key, value] for key, value in seconds.items()],
    }
    # JSON has no nan: what too few samples tell nothing about is null there.
    text = json.dumps(stored, indent=1).replace("NaN", "null")
    write_atomic(folder / NUMBERS, text.encode())
    write_atomic(folder / PAGE, ("\n\n".join(body) + "\n").encode())
    return sentence


def power_law(widths, y):
    """Exponent, ln of y at width 100, and the exponent's error from the scatter, or nan.

    By least squares; None with fewer than two widths or a `y` that is not positive.
    """
    if np.unique(widths).size < 2 or not np.all(np.asarray(y) > 0.0):
        return None
    x, y = np.log(np.asarray(widths) / 100.0), np.log(y)
    error = np.sqrt(np.polyfit(x, y, 1, cov=True)[1][0, 0]) if x.size > 2 else np.nan
    return *map(float, np.polyfit(x, y, 1)), float(error)


def _laws(numbers):
    """`power_law` of the median and of the worst band, where there is one."""
    nets = [n for n in numbers.values() if n["width"] is not None]
    widths = [n["width"] for n in nets]
    kinds = {"median band": "std_median", "worst band": "std_worst"}
    laws = {name: power_law(widths, [n[key] for n in nets]) for name, key in kinds.items()}
    return {name: law for name, law in laws.items() if law}


def answer(numbers, floor):
    """Which is the smallest network that is good enough for errors of `floor`: a sentence.

    `numbers` are `Scored.numbers` by label; ``width`` and ``good_enough_from`` are read.
    """
    nets = [
        (n["width"], n["good_enough_from"], label)
        for label, n in numbers.items()
        if n["width"] is not None
    ]
    text = f"For observational errors of {_percent(floor)} "
    if good := [net for net in nets if net[1] <= floor]:
        width, error, chosen = min(good)
        text += f"the smallest width that is good enough is {width} ({chosen}, good "
        text += f"enough from {_percent(error)})"
    elif nets:
        width, error, best = min(nets, key=lambda net: net[1])
        text += f"none of the networks is good enough: the best, {best} of width {width}, "
        text += f"is from {_percent(error)}"
        widths, errors, _ = zip(*nets, strict=True)
        slope, level, scatter = power_law(widths, errors) or (0.0, 0.0, np.nan)
        if slope < 0.0 and np.isfinite(scatter):
            width = 100.0 * np.exp((np.log(floor) - level) / slope)
            if width > 10.0 * max(widths):
                text += " (their power law gets there at no width near these)"
            else:  # to two digits: it is an extrapolation
                about = f"{float(f'{width:.2g}'):g}"
                text += f" (their power law, extrapolated, would be at a width of about {about})"
    else:
        text += "there is no network here to choose a width of"
    others = [
        label for label, n in numbers.items()
        if n["width"] is None and n["good_enough_from"] <= floor
    ]  # fmt: skip
    return text + (f"; {' and '.join(others)}, without a width, is good enough." if others else ".")


def _learning(scored, folder):
    """The section of learning curves, where files tell them."""
    training = {s.label: s.emulator.manifest.get("training", {}) for s in scored}
    curves = {k: t["validation_rmse"] for k, t in training.items() if t.get("validation_rmse")}
    if not curves:
        return
    save_figure(evaluation_figures.learning_figure(curves), folder / "learning.png", dpi=110)
    yield "![Validation loss after each epoch](learning.png)"


def _one(s, store, waves, folder, floor):
    """The section of one emulator."""
    r, draw = s.residuals, evaluation_figures
    name = "".join(c if c.isalnum() or c in "-_." else "_" for c in s.label)
    made = {
        f"{name}.png": ("Errors per band", draw.band_figure(waves, r, floor)),
        f"{name}-parameters.png": ("Errors against parameters", draw.parameter_figure(s.theta, r)),
    }
    for file, (_, figure) in made.items():
        save_figure(figure, folder / file, dpi=110)
    table = r.table
    table.add_column(waves, name="wavelength [micron]", index=1)
    table.write(folder / f"{name}-bands.ecsv", format="ascii.ecsv", overwrite=True)
    about = f"Emulator of {s.emulator.libraries}, SHA-256 {str(s.numbers['sha256'])[:12]}."
    made_with = (m["versions"].get("libraries") for m in (s.emulator.manifest, store.manifest))
    if len({*map(str, made_with)}) > 1:
        about += (
            " **Its FSPS libraries are not those of the test set**: residuals hold the difference."
        )
    return (
        f"## {s.label}",
        f"{about} Every band: [{name}-bands.ecsv]({name}-bands.ecsv).",
        *(f"![{title}]({file})" for file, (title, _) in made.items()),
    )


def _table(rows):
    """Markdown of numbers by heading, by label; without the checksum, which is long."""
    head = list(dict.fromkeys(key for row in rows.values() for key in row if key != "sha256"))
    cells = [["", *(h.replace("_", " ") for h in head)], ["---"] * (len(head) + 1)]
    cells += [[label, *(_shown(row.get(k)) for k in head)] for label, row in rows.items()]
    return "\n".join(f"| {' | '.join(line)} |" for line in cells)


def _shown(value):
    if isinstance(value, list):
        return ", ".join(map(_shown, value))
    return "–" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)


def _percent(x):
    return f"{100 * x:.2g} %"
