"""The report of `prospect-emu evaluate`: one page in Markdown with figures, numbers, tables."""

import json
from pathlib import Path

import numpy as np

from prospect_emu.files import check_writable, write_atomic
from prospect_emu.fit.plots import save

from . import score_figures, scores, timing

PAGE, NUMBERS = "report.md", "report.json"
FLOOR = 0.05
# Micron; the ranges of the tables.
RANGES = ((0.0, 0.4), (0.4, 1.0), (1.0, 2.5), (2.5, 10.0), (10.0, 30.0), (30.0, 2e3))


def write_report(scored, seconds, folder, floor=FLOOR, overwrite=False):
    """Write ``report.md``, its figures, ``report.json`` and a table of bands per emulator.

    Parameters
    ----------
    scored : sequence of comparison.Scored
        All on one test set.
    seconds : dict
        Of `comparison.time_all`.
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
    test, count = scored[0].test, scores.history_std(scored[0].test.theta, scored[0].residuals)[0]
    numbers = {s.label: s.numbers() for s in scored}
    laws = _laws(numbers)
    sentence = answer(numbers, floor)
    body = [
        _head(test, sentence, floor),
        _overview(numbers),
        _precision(numbers, laws, floor, folder),
        _times({s.label: s.width for s in scored}, seconds, folder),
        _histories(numbers, count, folder),
        *(_one(s, numbers[s.label], floor, folder) for s in scored),
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
    write_atomic(folder / NUMBERS, json.dumps(_plain(stored), indent=1).encode())
    write_atomic(folder / PAGE, ("\n\n".join(filter(None, body)) + "\n").encode())
    return sentence


def answer(numbers, floor):
    """Which is the smallest network that is good enough for errors of `floor`: a sentence.

    Parameters
    ----------
    numbers : dict
        Label: what `Scored.numbers` gives; ``width`` and ``good_enough_from`` are read.
    floor : float
        Relative observational error.
    """
    widths = [n["width"] for n in numbers.values()]
    needed = {label: n["good_enough_from"] for label, n in numbers.items()}
    nets = {label: n for label, n in needed.items() if numbers[label]["width"] is not None}
    for_errors = f"For observational errors of {_percent(floor)}"
    smallest = scores.smallest_width(widths, needed.values(), floor)
    if smallest is not None:
        chosen = min((e, n) for n, e in nets.items() if numbers[n]["width"] == smallest)
        text = (
            f"{for_errors} the smallest width that is good enough is {smallest} ({chosen[1]}, good "
            f"enough from {_percent(chosen[0])})"
        )
    elif nets:
        best = min(nets, key=nets.__getitem__)
        text = (
            f"{for_errors} none of the networks is good enough: the best, {best} of width "
            f"{numbers[best]['width']}, is from {_percent(nets[best])}"
            f"{_where(numbers, nets, floor)}"
        )
    else:
        text = f"{for_errors} there is no network here to choose a width of"
    good = [label for label, e in needed.items() if label not in nets and e <= floor]
    return text + (f"; {_and(good)}, without a width, is good enough." if good else ".")


def _where(numbers, nets, floor):
    """Where the power law of three or more networks would be good enough, to end a sentence."""
    law = scores.power_law([numbers[n]["width"] for n in nets], list(nets.values()))
    if law is None or np.isnan(law.error) or law.exponent >= 0.0:
        return ""
    width = law.width(floor)
    if width > 10.0 * max(numbers[n]["width"] for n in nets):
        return " (their power law gets there at no width near these)"
    # To two digits: it is an extrapolation.
    return (
        f" (their power law, extrapolated, would be at a width of about {float(f'{width:.2g}'):g})"
    )


# ---- the page --------------------------------------------------------------------------


def _head(test, sentence, floor):
    recipe = test.store.recipe
    z = recipe.zred_range
    return (
        "# Emulators against FSPS\n\n"
        f"**{sentence}**\n\n"
        "An emulator is good enough for an observational error if (1) in every band the standard "
        "deviation of its residuals is at most a third of that error, which makes error bars 5 % "
        f"longer, and (2) {100 * scores.ERRORS_WITHIN:g} % of its residuals where FSPS is brighter "
        f"than AB {scores.BRIGHT:g}, all bands together, are at most that error. *Good enough "
        "from* is the smallest such error.\n\n"
        f"{len(test.theta):,} samples by FSPS itself, drawn "
        f"{recipe.distribution.replace('_', ' ')} at {z[0]:g} < z < {z[1]:g}, {len(test.filters)} "
        "bands. Residuals are emulator minus FSPS in arsinh magnitudes (u0 = 35)."
    )


def _overview(numbers):
    head = (
        "emulator", "width", "std, median band", "std, worst band", "worst |bias|",
        f"AB < {scores.BRIGHT:g}: errors under 0.05", "1, 2, 3, 4 σ reach", "good enough from",
    )  # fmt: skip
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


def _laws(numbers):
    nets = [n for n in numbers.values() if n["width"] is not None]
    keys = ("std_median", "std_worst")
    return {k: scores.power_law([n["width"] for n in nets], [n[k] for n in nets]) for k in keys}


def _precision(numbers, laws, floor, folder):
    nets = [n for n in numbers.values() if n["width"] is not None]
    if not nets:
        return ""
    widths, median, worst = (
        np.array([n[k] for n in nets]) for k in ("width", "std_median", "std_worst")
    )
    figure = score_figures.width_figure(widths, median, worst, tuple(laws.values()), floor)
    save(figure, folder / "widths.png", dpi=110)
    said = [
        f"{name} {law.at_100:.2g} mag at width 100, ∝ width^{law.exponent:.2f}"
        + (f" ± {law.error:.2f}" if np.isfinite(law.error) else "")
        for name, law in zip(("median band", "worst band"), laws.values(), strict=True)
        if law is not None
    ]
    text = "Least squares: " + "; ".join(said) if said else "A power law needs two widths"
    return f"## Precision against width\n\n![Precision against width](widths.png)\n\n{text}."


def _times(widths, seconds, folder):
    save(score_figures.time_figure(widths, seconds), folder / "times.png", dpi=110)
    kinds = [(b, fixed) for fixed in (False, True) for b in timing.BATCHES]
    rows = [
        (label, widths.get(label) or "–",
         *(f"{1e6 * seconds[(label, *k)]:.3g}" if (label, *k) in seconds else "–" for k in kinds))
        for label in dict.fromkeys(label for label, _, _ in seconds)
    ]  # fmt: skip
    head = ["", "width"] + [
        f"batch {b}, {'one redshift' if fixed else 'any redshift'}" for b, fixed in kinds
    ]
    absent = [n for n in ("FSPS", "ExactSPS") if (n, 1, False) not in seconds]
    note = f" {_and(absent)} {'was' if len(absent) == 1 else 'were'} not timed." if absent else ""
    return (
        "## Time per vector\n\n![Time per vector](times.png)\n\nMicroseconds of processor time "
        "per parameter vector and all bands, one thread, all in turns in one run, fastest call. "
        "*One redshift*: what depends on redshift alone is prepared, as in a fit."
        f"{note}\n\n" + _table(head, rows)
    )


def _histories(numbers, count, folder):
    std, ratio = (
        {label: n[key] for label, n in numbers.items()} for key in ("history_std", "history_ratio")
    )
    figure = score_figures.history_figure(count, std, ratio)
    save(figure, folder / "histories.png", dpi=110)
    edges = scores.HISTORY_EDGES
    head = ["largest abs(logsfr_ratio)"] + [
        f"{a:g}–{b:g} ({n:,})" for a, b, n in zip(edges[:-1], edges[1:], count, strict=True)
    ]
    rows = [
        (label, *map(_history_cell, n["history_std"], n["history_ratio"]))
        for label, n in numbers.items()
    ]
    return (
        "## Tails of the star-formation histories\n\n![Tails](histories.png)\n\nStandard "
        "deviation, median of the bands (and relative to the first column, median of the "
        "bands); in brackets above, samples.\n\n" + _table(head, rows)
    )


def _history_cell(std, ratio):
    if np.isnan(std):
        return "too few"
    return f"{std:.2g}" + ("" if np.isnan(ratio) else f" ({ratio:.2f})")


def _one(s, numbers, floor, folder):
    """The section of one emulator."""
    r, waves, name = s.residuals, s.test.waves, _file(s.label)
    made = {
        "bands": ("Errors per band", score_figures.band_figure(waves, r, floor)),
        "distribution": ("Distribution of errors", score_figures.distribution_figure(r)),
        "correlation": ("Correlation of bands", score_figures.correlation_figure(waves, r)),
        "parameters": (
            "Errors against parameters",
            score_figures.parameter_figure(s.test.theta, r),
        ),
    }
    for key, (_, figure) in made.items():
        save(figure, folder / f"{name}-{key}.png", dpi=110)
    table = s.table.copy()
    table.add_column(waves, name="wavelength [micron]", index=1)
    table.write(folder / f"{name}-bands.ecsv", format="ascii.ecsv", overwrite=True)
    about = f"Emulator of {s.emulator.libraries}, SHA-256 {str(numbers['sha256'])[:12]}."
    if s.emulator.manifest["versions"].get("libraries") != s.test.libraries:
        about += (
            " **Its FSPS libraries are not those of the test set**: residuals hold the difference."
        )
    rows = []
    for low, high in RANGES:
        part = s.table[(waves >= low) & (waves < high)]
        if len(part):
            i, bias = np.argmax(part["std"]), np.abs(part["bias"]).max()
            rows.append(
                (f"{low:g}–{high:g}", len(part), f"{np.median(part['std']):.2g}",
                 f"{part['std'][i]:.2g}", part["band"][i], f"{bias:.2g}")
            )  # fmt: skip
    head = ("wavelength [μm]", "bands", "median std", "worst std", "worst band", "worst |bias|")
    figures = [f"![{title}]({name}-{key}.png)" for key, (title, _) in made.items()]
    return "\n\n".join(
        [f"## {s.label}", f"{about} Every band: [{name}-bands.ecsv]({name}-bands.ecsv).",
         _table(head, rows), *figures]
    )  # fmt: skip


def _table(head, rows):
    # A bar inside a cell would end it.
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(str(c).replace("|", "\\|") for c in line) + " |" for line in lines
    )


def _plain(x):
    """For JSON, which has no nan: what too few samples tell nothing about is null there."""
    if isinstance(x, dict):
        return {k: _plain(v) for k, v in x.items()}
    if isinstance(x, (list, tuple)):
        return [_plain(v) for v in x]
    return None if isinstance(x, float) and np.isnan(x) else x


def _percent(x):
    return f"{100 * x:.2g} %"


def _and(words):
    return " and ".join([", ".join(words[:-1]), words[-1]] if words[1:] else words)


def _file(text):
    return "".join(c if c.isalnum() or c in "-_." else "_" for c in text)
