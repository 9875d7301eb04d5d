"""The emulator: parameter vectors in, apparent fluxes and their errors out."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np

from ..observe.magnitudes import arsinh_to_maggies
from . import sfh
from .emulator_base import STATISTICS, EmulatorBase
from .network import MLP
from .network_inputs import ALL, PLAIN, network_inputs
from .stitched import fading_weights, misfit, whole_bounds


@dataclass(frozen=True, repr=False)
class Emulator(EmulatorBase):
    """A network, or several for neighbouring redshift ranges (`prospect_emu.networks.stitched`).

    Attributes
    ----------
    flux_net, mfrac_net : MLP or None
        Of the fluxes and of the surviving mass; None where there are parts.
    parts : tuple of Emulator
        By increasing redshift, each with the error statistics of its own domain.
    """

    flux_net: MLP | None = None
    mfrac_net: MLP | None = None
    parts: tuple = ()

    KIND, SCHEMA = "prospect_emu emulator", 1
    OLD_KINDS: ClassVar[tuple] = ("prospect_emu stitched emulator",)

    def __repr__(self):
        edges = ", ".join(f"{lo:g}-{hi:g}" for lo, hi in self.domains)
        how = f"z {edges}" if self.parts else "network " + "-".join(map(str, self._widths))
        return f"Emulator({self.name!r}, {len(self.filters)} bands, {how})"

    @property
    def _widths(self):
        return self.flux_net.widths

    @property
    def domains(self):
        """Redshift range of each network, shape (npart, 2)."""
        return np.array([p.bounds[self.index("zred")] for p in self.parts or (self,)])

    def weights(self, zred):
        """Weight (..., npart) of each part's flux at redshifts (...); see `fading_weights`."""
        return fading_weights(zred, self.domains)

    def reference_maggies(self, theta):
        """Fluxes at the reference mass and distance, (n, nband) of `theta` (n, 18), unchecked.

        With parts NaN outside their redshifts, where a network would extrapolate.
        """
        if self.parts:
            return self._fade(theta, len(self.filters), lambda p, rows: p.reference_maggies(rows))
        # Column 0 is logmass, which only scales the flux. The network knows
        # magnitudes; that a flux is not negative has to be added.
        flux = arsinh_to_maggies(self.flux_net(network_inputs(theta, self.flux_net.widths[0])))
        return np.maximum(flux, 0.0, out=flux)

    def at_redshift(self, zred):
        """The network that is alone at this redshift, or the sum of the two that overlap there.

        Raises
        ------
        RangeError
            If the redshift is outside the range of all parts.
        """
        super().at_redshift(zred)
        if not self.parts:
            return self
        weights = self.weights(float(zred))
        used = np.flatnonzero(weights > 0.0)
        folded = [self.parts[i].at_redshift(zred) for i in used]
        return folded[0] if used.size == 1 else _Faded(weights[used], folded)

    def _mfrac(self, theta):
        if self.parts:
            return self._fade(theta, 1, lambda p, rows: p._mfrac(rows)[:, None])[:, 0]
        # The network gives the fraction of each age bin from logzsol and zred;
        # the bins' masses weight them exactly.
        zred = theta[:, self.index("zred")]
        per_bin = self.mfrac_net(np.stack([theta[:, self.index("logzsol")], zred], axis=1))
        i = self.index("logsfr_ratios_1")
        share = sfh.bin_masses(np.zeros(len(theta)), theta[:, i : i + sfh.NBINS - 1], zred)
        return (per_bin * share).sum(axis=1)

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
        if not self.parts:
            return {"flux_net": self.flux_net.select(columns)}
        names = [self.filters[i] for i in columns]
        return {"parts": tuple(p.select(names) for p in self.parts)}

    # ---- files ------------------------------------------------------------------

    def save(self, path):
        """Write the emulator and all its parts into one safetensors file (atomic)."""
        whole = self
        if self.flux_net is None:
            described = [
                {"name": p.name, "bounds": p.bounds.tolist(), "manifest": p.manifest}
                for p in self.parts
            ]
            whole = replace(self, manifest={**self.manifest, "parts": described})
        super(Emulator, whole).save(path)

    def _tensors(self):
        if self.flux_net is not None:
            return {**self.flux_net.tensors("flux"), **self.mfrac_net.tensors("mfrac")}
        out = {}
        for i, part in enumerate(self.parts):
            own = part._tensors() | {k: getattr(part, v) for k, v in STATISTICS.items()}
            out |= {f"part_{i}/{k}": v for k, v in own.items()}
        return out

    @classmethod
    def _from_tensors(cls, common, tensors, where):
        if any(k.startswith("flux/") for k in tensors):
            nets = (MLP.from_tensors(tensors, name, where) for name in ("flux", "mfrac"))
            return cls(**common, **dict(zip(("flux_net", "mfrac_net"), nets, strict=True)))
        parts = []
        for i, part in enumerate(common["manifest"]["parts"]):
            prefix = f"part_{i}/"
            own = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            # Bands and parameters are those of the whole: written once.
            mine = common | {
                "name": str(part["name"]),
                "bounds": np.array(part["bounds"], dtype=float),
                **{v: own[k] for k, v in STATISTICS.items()},
                "manifest": part["manifest"],
                "errors": None,
            }
            parts.append(cls._from_tensors(mine, own, f"{where}, part {i}"))
            # A manifest without them is told from a good one here, as `load` does for the whole.
            parts[-1].fixed, part["manifest"]["versions"]["libraries"]
        return cls(**common, parts=tuple(parts))

    def _inconsistency(self):
        problem = super()._inconsistency()
        if problem:
            return problem
        if self.flux_net is None:
            return self._between_parts()
        nets = {
            "flux": (self.flux_net, (PLAIN, ALL), len(self.filters)),
            "mfrac": (self.mfrac_net, (2,), sfh.NBINS),
        }
        for name, (net, n_in, n_out) in nets.items():
            if net.widths[0] not in n_in or net.widths[-1] != n_out:
                wanted = f"{' or '.join(map(str, n_in))} -> {n_out}"
                return f"network {name!r} is {net.widths[0]} -> {net.widths[-1]}, not {wanted}"
            if not all(np.isfinite(a).all() for a in net.tensors("").values()):
                return f"network {name!r} is not finite"
        return None

    def _between_parts(self):
        for part in self.parts:
            problem = part._inconsistency()
            if problem:
                return f"in its part {part.name!r}, {problem}"
        problem = misfit(self.parts)
        if problem:
            return f"of its parts, {problem}"
        if not np.array_equal(self.bounds, whole_bounds(self.parts)):
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

    def mfrac(self, theta, check=False):
        """Surviving mass fraction (n,) of `theta` (n, 18), unchecked."""
        return sum(w * e.mfrac(theta, check=False) for w, e in self._weighted)
