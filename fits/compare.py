"""How far two sets of fits agree: emulator and FSPS, two widths, or repeated runs.

After Mathews et al. (2023): the 68th percentile of absolute differences of
posterior medians, and the discrepancy D = |m1 - m2| / sqrt(s1^2 + s2^2), with s
half the 16-84 % width; a catastrophic outlier has D > 3. Repeated runs of the
same fit differ too: their numbers stand beside, as what a sampler leaves.
"""

from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from astropy.table import Table, vstack
from scipy.stats import beta

from ..errors import DataError, SetupError
from .results import read_table
from .store import DONE

# What the paper compares. Ages are compared as logarithms, as the rest is.
QUANTITIES = ("logmass", "logzsol", "log_sfr_100", "log_mass_weighted_age")
OUTLIER = 3.0
CONFIDENCE = 0.95
_LOGARITHMS = {"log_mass_weighted_age": "mass_weighted_age"}
# Models without this parameter have it as a quantity.
_FORMED = {"logmass": "log_mass_formed"}
_LEVELS = ("p16", "p50", "p84")


@dataclass(frozen=True)
class Side:
    """Fits of one emulator and one repeat.

    Attributes
    ----------
    label : str
    table : astropy.table.Table
        Its converged rows.
    others : dict of str -> str
        Its other galaxies, and the state of their fits.
    """

    label: str
    table: Table
    others: dict = field(default_factory=dict)

    def _source(self, name):
        """The column that holds a quantity, without its ending."""
        known = f"{name}_p50" in self.table.colnames
        return _LOGARITHMS.get(name, name if known else _FORMED.get(name, name))

    def levels(self, name):
        """16th, 50th and 84th percentile, shape (3, nfit)."""
        source = self._source(name)
        values = np.array([np.asarray(self.table[f"{source}_{q}"], float) for q in _LEVELS])
        return np.log10(values) if name in _LOGARITHMS else values

    def truth(self, name):
        """True values of mocks, shape (nfit,); None where there are none."""
        column = f"true_{self._source(name)}"
        if column not in self.table.colnames:
            return None
        values = np.asarray(self.table[column], dtype=float)
        return np.log10(values) if name in _LOGARITHMS else values

    def parameters(self):
        """Names that have percentiles, the paper's first."""
        names = [c[: -len("_p50")] for c in self.table.colnames if c.endswith("_p50")]
        first = [q for q in QUANTITIES if self._source(q) in names]
        return first + [n for n in names if n not in {*first, *map(self._source, first)}]


def read_sides(spec):
    """The fits that ``FOLDER[:EMULATOR[:REPEAT]]`` names, one `Side` per emulator and repeat.

    Raises
    ------
    DataError
        If the folder holds no campaign, or nothing of that name is converged.
    """
    folder, _, rest = str(spec).partition(":")
    emulator, _, repeat = rest.partition(":")
    table = read_table(folder)
    done = np.asarray(table["state"]) == DONE
    if repeat and not repeat.isdecimal():
        raise SetupError(
            f"{spec!r}: the repeat {repeat!r} is not a number; write FOLDER:EMULATOR:0."
        )
    named = zip(map(str, table["emulator"][done]), map(int, table["repeat"][done]), strict=True)
    pairs = dict.fromkeys(named)
    sides = {}
    for label, number in pairs:
        if emulator in ("", label) and repeat in ("", str(number)):
            rows = (table["emulator"] == label) & (table["repeat"] == number)
            rest = table[rows & ~done]
            others = dict(zip(map(str, rest["galaxy"]), map(str, rest["state"]), strict=True))
            sides[label, number] = Side(label, table[rows & done], others)
    if not sides:
        known = ", ".join(sorted({f"{e}:{r}" for e, r in pairs})) or "none"
        raise DataError(f"{spec} names no converged fits; {folder} holds {known}.")
    where = str(Path(folder).resolve())
    return {(where, *pair): side for pair, side in sides.items()}


def matched(a, b):
    """Two sides restricted to the galaxies that both have, in the order of the first."""
    there = {galaxy: i for i, galaxy in enumerate(b.table["galaxy"])}
    rows = [i for i, galaxy in enumerate(a.table["galaxy"]) if galaxy in there]
    if not rows:
        raise DataError(f"{a.label} and {b.label} have no galaxy in common.")
    others = [there[a.table["galaxy"][i]] for i in rows]
    return replace(a, table=a.table[rows]), replace(b, table=b.table[others])


def discrepancy(a, b):
    """D of percentiles (3, n) of two posteriors, shape (n,)."""
    half = 0.5 * (a[2] - a[0]), 0.5 * (b[2] - b[0])
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.abs(a[1] - b[1]) / np.hypot(*half)


def binomial_interval(k, n, confidence=CONFIDENCE):
    """Clopper and Pearson's interval of a rate, `k` of `n`.

    Returns
    -------
    (float, float)
    """
    tail = 0.5 * (1.0 - confidence)
    low = beta.ppf(tail, k, n - k + 1) if k else 0.0
    high = beta.ppf(1.0 - tail, k + 1, n - k) if k < n else 1.0
    return float(low), float(high)


@dataclass(frozen=True)
class Pair:
    """Two sides of the same galaxies, and how they differ.

    Attributes
    ----------
    label : str
    repeat : bool
        Whether they are runs of the same fit with different seeds.
    a, b : Side
    d : dict of str -> ndarray, shape (ngalaxy,)
        Discrepancy by parameter.
    left_out : dict of str -> str
        Galaxies that are not compared, and why.
    """

    label: str
    repeat: bool
    a: Side
    b: Side
    d: dict
    left_out: dict = field(default_factory=dict)

    @property
    def quantities(self):
        """Which of the paper's four both sides have."""
        return [q for q in QUANTITIES if q in self.d]

    def worst(self):
        """The largest D of each galaxy over these, shape (ngalaxy,)."""
        return np.nanmax([self.d[q] for q in self.quantities], axis=0)


def make_pair(a, b, label, repeat=False):
    """Match two sides and compare them.

    Raises
    ------
    DataError
        If they have no galaxy, or none of the paper's quantities, in common.
    """
    left_out = {}
    for one, other in ((a, b), (b, a)):
        names = {*one.table["galaxy"], *one.others}
        why = {g: other.others.get(g, "not fitted") for g in names - {*other.table["galaxy"]}}
        left_out |= {str(g): f"{state} in {other.label}" for g, state in why.items()}
    a, b = matched(a, b)
    names = [n for n in a.parameters() if n in b.parameters()]
    if not set(names) & set(QUANTITIES):
        raise DataError(
            f"{a.label} and {b.label} have none of {', '.join(QUANTITIES)} in common to compare."
        )
    d = {n: discrepancy(a.levels(n), b.levels(n)) for n in names}
    return Pair(label, repeat, a, b, d, left_out)


def make_pairs(reference, others):
    """Every comparison that two or more specifications ask for.

    Parameters
    ----------
    reference : str
        ``FOLDER[:EMULATOR[:REPEAT]]``. Its first emulator and repeat is what all
        others are compared with.
    others : sequence of str
        Likewise. Every emulator in them is compared with the reference, its
        lowest repeat standing for it; repeats of one emulator in one folder are
        compared with each other, in pairs that share no run, so that they are
        independent.

    Returns
    -------
    list of Pair
        Comparisons with the reference first, then repeats.
    """
    sides = {}
    for spec in (reference, *others):
        sides |= read_sides(spec)
    first = next(iter(sides))
    groups: dict = {}
    for name, side in sides.items():
        groups.setdefault(name[:2], []).append((name, side))
    labels = _labels(groups)
    reference_side = replace(sides[first], label=labels[first[:2]])
    pairs, repeats = [], []
    for name, group in groups.items():
        label = labels[name]
        runs = [replace(side, label=label) for _, side in sorted(group, key=lambda g: g[0][2])]
        for one, two in zip(runs[::2], runs[1::2], strict=False):
            repeats.append(make_pair(one, two, f"{label}, repeated", repeat=True))
        if name != first[:2]:
            pairs.append(make_pair(reference_side, runs[0], label))
    if not pairs and not repeats:
        raise DataError(
            f"{reference} and the others name one and the same set of fits; name two emulators, "
            "folders or repeats."
        )
    return pairs + _pooled(repeats)


def _labels(groups):
    """Short names of (folder, emulator) that tell them apart."""
    out = {}
    for folder, emulator in groups:
        same = [Path(f) for f, e in groups if e == emulator]
        out[folder, emulator] = emulator
        if len(same) > 1:
            clash = sum(f.name == Path(folder).name for f in same) > 1
            short = folder if clash else Path(folder).name
            out[folder, emulator] = f"{emulator} ({short})"
    return out


def _pooled(repeats):
    """Repeats of one emulator as one pair: with four runs of a galaxy, two comparisons."""
    out = []
    for label in dict.fromkeys(p.label for p in repeats):
        mine = [p for p in repeats if p.label == label]
        names = [n for n in mine[0].d if all(n in p.d for p in mine)]
        d = {n: np.concatenate([p.d[n] for p in mine]) for n in names}
        left_out = {g: why for p in mine for g, why in p.left_out.items()}
        a, b = (
            Side(getattr(mine[0], s).label,
                 vstack([getattr(p, s).table for p in mine], metadata_conflicts="silent"))
            for s in "ab"
        )  # fmt: skip
        out.append(Pair(label, True, a, b, d, left_out))
    return out


def comparison_table(pairs):
    """Statistics of each pair and parameter.

    Returns
    -------
    astropy.table.Table
        ``comparison``, ``repeat``, ``parameter``; ``n`` galaxies; ``offset``, median of
        the second side's median minus the first's; ``delta68``, 68th percentile of
        the absolute differences, and for logarithms the same in per cent;
        ``D50``, ``D68``, ``D95``, percentiles of D; ``outliers``, ``rate``,
        ``rate_low``, ``rate_high``: galaxies with D > 3, with the 95 % binomial
        interval. The parameter "any of the four" counts galaxies with D > 3 in any
        of the paper's quantities.
    """
    rows = []
    for pair in pairs:
        for name, d in pair.d.items():
            delta = pair.b.levels(name)[1] - pair.a.levels(name)[1]
            delta68 = float(np.nanpercentile(np.abs(delta), 68))
            log = name in QUANTITIES or name.startswith("log")
            rows.append(
                {"comparison": pair.label, "repeat": pair.repeat, "parameter": name,
                 "offset": float(np.nanmedian(delta)), "delta68": delta68,
                 "delta68_percent": 100.0 * (10.0**delta68 - 1.0) if log else np.nan,
                 **_rates(d)}
            )  # fmt: skip
        rows.append(
            {"comparison": pair.label, "repeat": pair.repeat, "parameter": "any of the four",
             "offset": np.nan, "delta68": np.nan, "delta68_percent": np.nan,
             **_rates(pair.worst())}
        )  # fmt: skip
    return Table(rows)


def _rates(d):
    d = d[np.isfinite(d)]
    k, n = int((d > OUTLIER).sum()), int(d.size)
    low, high = binomial_interval(k, n) if n else (np.nan, np.nan)
    d50, d68, d95 = np.percentile(d, [50, 68, 95]) if n else [np.nan] * 3
    return {
        "D50": float(d50), "D68": float(d68), "D95": float(d95), "n": n, "outliers": k,
        "rate": k / n if n else np.nan, "rate_low": low, "rate_high": high,
    }  # fmt: skip


def discrepancy_table(pairs):
    """D of every galaxy, pair and parameter, the wide way: a row per pair and galaxy."""
    tables = []
    for pair in pairs:
        table = Table({"comparison": [pair.label] * len(pair.a.table)})
        table["galaxy"] = pair.a.table["galaxy"]
        for name, d in pair.d.items():
            table[f"D_{name}"] = d
        table["D_worst"] = pair.worst()
        tables.append(table)
    return vstack(tables, metadata_conflicts="silent")


def left_out_table(pairs):
    """Galaxies that are not compared, and why: a row per pair and galaxy."""
    rows = [(p.label, g, why) for p in pairs for g, why in sorted(p.left_out.items())]
    columns = list(zip(*rows, strict=True)) or [(), (), ()]
    names = ("comparison", "galaxy", "reason")
    return Table([np.array(c, str) for c in columns], names=names)


def recovery_table(sides):
    """How well truths of mocks are recovered, per side and quantity.

    Returns
    -------
    astropy.table.Table
        ``side``, ``parameter``, ``n``; ``offset`` and ``scatter``: median, and half the
        16-84 % width, of median minus truth; ``inside68``: share of truths between
        the 16th and 84th percentile, ``inside_low``, ``inside_high`` its 95 % interval.
    """
    rows = []
    for side in sides:
        for name in QUANTITIES:
            truth = side.truth(name) if name in side.parameters() else None
            if truth is None:
                continue
            low, mid, high = side.levels(name)
            error = (mid - truth)[np.isfinite(mid - truth)]
            inside = int(((truth >= low) & (truth <= high)).sum())
            interval = binomial_interval(inside, len(error))
            p16, p50, p84 = np.percentile(error, [16, 50, 84])
            rows.append(
                {"side": side.label, "parameter": name, "n": len(error), "offset": float(p50),
                 "scatter": float(0.5 * (p84 - p16)), "inside68": inside / len(error),
                 "inside_low": interval[0], "inside_high": interval[1]}
            )  # fmt: skip
    return Table(rows)


def sides_of(pairs):
    """The different sides of some pairs, the reference first; repeats only if there is no other."""
    chosen = [p for p in pairs if not p.repeat] or pairs
    sides = {}
    for pair in chosen:
        for side, label in ((pair.a, pair.a.label), (pair.b, pair.label)):
            sides.setdefault(label, replace(side, label=label))
    return list(sides.values())
