"""Emulators of neighbouring redshift ranges, stitched into one.

Redshift is the hardest axis for a network. Several networks, each with a
*domain* in redshift, share it; where two domains overlap, one fades into the
other (Mathews et al. 2023, eq. 11-13). Faded are fluxes: they, not magnitudes,
add up where one of two is near zero.
"""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from ..errors import ProspectEmuError, RangeError
from .emulator import Emulator
from .emulator_base import STATISTICS, EmulatorBase, unmeasured

KIND = "prospect_emu stitched emulator"
_SCHEMA = 1
# As in EmulatorBase.check: the range's own edge may sit one ulp off.
_SLACK = 1e-9


def fading_weights(zred, domains):
    """Weight of each part's flux.

    With theta = pi/2 (z - a) / (b - a) over the overlap [a, b] of two domains,
    sin^2(theta) for the upper one and cos^2(theta) for the lower; 1 where a
    domain is alone, 0 outside it.

    Parameters
    ----------
    zred : array_like, shape (...)
    domains : ndarray, shape (npart, 2)
        Redshift ranges by increasing redshift; neighbours overlap, others do not.

    Returns
    -------
    ndarray, shape (..., npart)
        Between 0 and 1. Sums to 1 within the whole range, to 0 outside it, and to
        NaN where `zred` is.
    """
    zred = np.asarray(zred, dtype=float)[..., None]
    lower, upper = domains.T
    slack = _SLACK * (upper[-1] - lower[0])
    outside = (zred < lower[0] - slack) | (zred > upper[-1] + slack)
    phase = np.clip((zred - lower[1:]) / (upper[:-1] - lower[1:]), 0.0, 1.0)
    rising = np.sin(0.5 * np.pi * phase) ** 2
    ends = np.ones_like(zred)
    # 1 - sin^2 instead of cos^2: exactly zero where the overlap ends.
    weights = np.concatenate([ends, rising], -1) * np.concatenate([1.0 - rising, ends], -1)
    return np.where(outside, 0.0, weights)


def misfit(parts):
    """Why emulators cannot be stitched in this order, or None.

    Parameters
    ----------
    parts : sequence of Emulator
        By increasing redshift.

    Returns
    -------
    str or None
        The end of a sentence.
    """
    if not parts:
        return "there are none"
    for part in parts:
        if type(part) is not Emulator:
            return f"{part.name!r} is a {type(part).__name__}, not a network"
    first = parts[0]
    for part in parts[1:]:
        pair = f"{first.name!r} and {part.name!r}"
        if part.parameters != first.parameters:
            return f"{pair} have other parameters"
        zred = first.index("zred")
        if not np.array_equal(np.delete(part.bounds, zred, 0), np.delete(first.bounds, zred, 0)):
            return f"{pair} have other ranges of parameters beside the redshift's"
        if (part.filters, part.filter_hashes) != (first.filters, first.filter_hashes):
            return f"{pair} have other bands, or the same in another order or with other curves"
        if part.manifest["versions"]["libraries"] != first.manifest["versions"]["libraries"]:
            return f"{pair} have other libraries ({first.libraries}; {part.libraries})"
        if part.fixed != first.fixed:
            names = sorted({*part.fixed, *first.fixed})
            other = [k for k in names if part.fixed.get(k) != first.fixed.get(k)]
            return f"{pair} hold other values fixed ({', '.join(other)})"
    return _gap(parts)


def _gap(parts):
    """What is wrong with the domains of emulators, or None."""
    domains = [(p.name, *p.bounds[p.index("zred")]) for p in parts]
    for (a, lo, hi), (b, next_lo, next_hi) in pairwise(domains):
        pair = f"{a!r} ({lo:g} < z < {hi:g}) and {b!r} ({next_lo:g} < z < {next_hi:g})"
        if next_lo <= lo or next_hi <= hi:
            return f"of {pair} one lies inside the other, or they are not in order"
        if next_lo >= hi:
            return f"{pair} leave a gap, or no overlap to fade in"
    for (a, _, hi), (_, _, _), (c, lo, _) in zip(domains, domains[1:], domains[2:], strict=False):
        if lo < hi:
            return f"{a!r} (z < {hi:g}) and {c!r} (z > {lo:g}) overlap with a third between them"
    return None


def stitch(name, parts):
    """One emulator from several.

    Parameters
    ----------
    name : str
    parts : sequence of Emulator
        In any order. They must agree in all but their redshift ranges, of which
        each overlaps with its neighbours' alone.

    Returns
    -------
    StitchedEmulator
        Its error statistics are NaN, for only a test set over the whole range
        tells them: ``dataclasses.replace(emulator, **residual_statistics(...))``
        (`prospect_emu.training.evaluate`).

    Raises
    ------
    ProspectEmuError
        If the parts do not fit together.
    """
    zred = [p.bounds[p.index("zred")].tolist() for p in parts]
    parts = tuple(parts[i] for i in sorted(range(len(zred)), key=zred.__getitem__))
    problem = misfit(parts)
    if problem:
        raise ProspectEmuError(
            f"These emulators cannot be stitched: {problem}; train the parts alike, in "
            "overlapping redshift ranges."
        )
    first = parts[0]
    bounds = _whole_bounds(parts)
    recipe = first.manifest["recipe"] | {"zred_range": bounds[first.index("zred")].tolist()}
    return StitchedEmulator(
        name=name,
        parameters=first.parameters,
        bounds=bounds,
        filters=first.filters,
        filter_hashes=first.filter_hashes,
        **unmeasured(len(first.filters), np.nan),
        manifest={
            "recipe": recipe,
            "versions": first.manifest["versions"],
            "label": first.manifest.get("label"),
        },
        parts=parts,
    )


def _whole_bounds(parts):
    bounds, zred = parts[0].bounds.copy(), parts[0].index("zred")
    bounds[zred, 1] = parts[-1].bounds[zred, 1]
    return bounds


@dataclass(frozen=True, repr=False)
class StitchedEmulator(EmulatorBase):
    """Networks for neighbouring redshift ranges; made by `stitch` or `load_emulator`.

    The interface of `prospect_emu.networks.emulator.Emulator`. `parts` are the networks by
    increasing redshift. Each carries the error statistics of its own domain; those
    of the whole are over the whole range.
    """

    parts: tuple

    KIND, SCHEMA = KIND, _SCHEMA

    def __repr__(self):
        edges = ", ".join(f"{lo:g}-{hi:g}" for lo, hi in self.domains)
        return f"StitchedEmulator({self.name!r}, {len(self.filters)} bands, z {edges})"

    @property
    def domains(self):
        """Redshift range of each part, shape (npart, 2)."""
        zred = self.index("zred")
        return np.array([p.bounds[zred] for p in self.parts])

    def weights(self, zred):
        """Weight (..., npart) of each part's flux at redshifts (...); see `fading_weights`."""
        return fading_weights(zred, self.domains)

    def reference_maggies(self, theta):
        """Fluxes at the reference mass and distance, (n, nband) of `theta` (n, 18), unchecked.

        NaN outside the range of redshifts, where a network would extrapolate.
        """
        return self._fade(theta, len(self.filters), lambda p, rows: p.reference_maggies(rows))

    def at_redshift(self, zred):
        """The part that is alone at this redshift, or the sum of the two that overlap there.

        Raises
        ------
        RangeError
            If the redshift is outside the range of all parts.
        """
        weights = self.weights(float(zred))
        used = np.flatnonzero(weights > 0.0)
        if used.size == 0:
            lo, hi = self.bounds[self.index("zred")]
            raise RangeError(
                f"zred = {zred:.6g} lies outside {lo:g} to {hi:g}, the range of emulator "
                f"{self.name!r}; use an emulator that covers it."
            )
        folded = [self.parts[i].at_redshift(zred) for i in used]
        return folded[0] if used.size == 1 else _Faded(weights[used], folded)

    def _mfrac(self, theta):
        return self._fade(theta, 1, lambda p, rows: p._mfrac(rows)[:, None])[:, 0]

    def _fade(self, theta, ncolumn, values):
        """Weighted sum (n, ncolumn) of ``values(part, rows)``, each part asked where it counts."""
        weights = self.weights(theta[:, self.index("zred")])
        used = weights > 0.0
        total = np.zeros((len(theta), ncolumn))
        total[~used.any(axis=1)] = np.nan
        for part, weight, mine in zip(self.parts, weights.T, used.T, strict=True):
            if mine.any():
                total[mine] += weight[mine, None] * values(part, theta[mine])
        return total

    def _outputs(self, columns):
        names = [self.filters[i] for i in columns]
        return {"parts": tuple(p.select(names) for p in self.parts)}

    # ---- files ------------------------------------------------------------------

    def save(self, path):
        """Write the emulator and all its parts into one safetensors file (atomic)."""
        described = [
            {"name": p.name, "bounds": p.bounds.tolist(), "manifest": p.manifest}
            for p in self.parts
        ]
        whole = replace(self, manifest={**self.manifest, "parts": described})
        super(StitchedEmulator, whole).save(path)

    def _tensors(self):
        out = {}
        for i, part in enumerate(self.parts):
            own = part._tensors() | {k: getattr(part, v) for k, v in STATISTICS.items()}
            out |= {f"part_{i}/{k}": v for k, v in own.items()}
        return out

    @classmethod
    def _from_tensors(cls, common, tensors, where):
        parts = []
        for i, described in enumerate(common["manifest"]["parts"]):
            prefix = f"part_{i}/"
            own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            # Bands and parameters are those of the whole: written once.
            part = {
                **{k: common[k] for k in ("parameters", "filters", "filter_hashes")},
                "name": str(described["name"]),
                "bounds": np.array(described["bounds"], dtype=float),
                **{v: own[k] for k, v in STATISTICS.items()},
                "manifest": described["manifest"],
            }
            parts.append(Emulator._from_tensors(part, own, f"{where}, part {i}"))
            # A manifest without them is told from a good one here, as `load` does for the whole.
            parts[-1].fixed, described["manifest"]["versions"]["libraries"]
        return cls(**common, parts=tuple(parts))

    def _inconsistency(self):
        problem = super()._inconsistency()
        if problem:
            return problem
        for part in self.parts:
            problem = part._inconsistency()
            if problem:
                return f"in its part {part.name!r}, {problem}"
        problem = misfit(self.parts)
        if problem:
            return f"of its parts, {problem}"
        if not np.array_equal(self.bounds, _whole_bounds(self.parts)):
            return "its bounds are not those of its parts"
        first = self.parts[0].manifest
        libraries = self.manifest["versions"]["libraries"]
        if self.fixed != first["recipe"]["fixed"] or libraries != first["versions"]["libraries"]:
            return "its fixed values or libraries are not those of its parts"
        return None


class _Faded:
    """Two emulators in an overlap at one redshift."""

    def __init__(self, weights, emulators):
        self._weighted = list(zip(weights, emulators, strict=True))

    def reference_maggies(self, theta):
        """Fluxes at the reference mass and distance, (n, nband) of `theta` (n, 18), unchecked."""
        return sum(w * e.reference_maggies(theta) for w, e in self._weighted)
