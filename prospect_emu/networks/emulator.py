"""The emulator: parameter vectors in, apparent fluxes and their errors out."""

from dataclasses import dataclass

import numpy as np

from ..observe.magnitudes import arsinh_to_maggies
from . import sfh
from .emulator_base import EmulatorBase
from .network import MLP

KIND = "prospect_emu emulator"
SCHEMA = 1


@dataclass(frozen=True, repr=False)
class Emulator(EmulatorBase):
    """A network: `flux_net` for the fluxes, `mfrac_net` for the surviving mass."""

    flux_net: MLP
    mfrac_net: MLP

    KIND, SCHEMA = KIND, SCHEMA

    def __repr__(self):
        widths = "-".join(str(n) for n in self.flux_net.widths)
        return f"Emulator({self.name!r}, {len(self.filters)} bands, network {widths})"

    def reference_maggies(self, theta):
        # Column 0 is logmass, which only scales the flux. The network knows
        # magnitudes; that a flux is not negative has to be added.
        flux = arsinh_to_maggies(self.flux_net(theta[:, 1:]))
        return np.maximum(flux, 0.0, out=flux)

    def _mfrac(self, theta):
        # The network gives the fraction of each age bin from logzsol and zred;
        # the bins' masses weight them exactly.
        zred = theta[:, self.index("zred")]
        per_bin = self.mfrac_net(np.stack([theta[:, self.index("logzsol")], zred], axis=1))
        i = self.index("logsfr_ratios_1")
        share = sfh.bin_masses(np.zeros(len(theta)), theta[:, i : i + sfh.NBINS - 1], zred)
        return (per_bin * share).sum(axis=1)

    def _outputs(self, columns):
        return {"flux_net": self.flux_net.select(columns)}

    def _tensors(self):
        return {**self.flux_net.tensors("flux"), **self.mfrac_net.tensors("mfrac")}

    @classmethod
    def _from_tensors(cls, common, tensors, where):
        return cls(
            **common,
            flux_net=MLP.from_tensors(tensors, "flux", where),
            mfrac_net=MLP.from_tensors(tensors, "mfrac", where),
        )

    def _inconsistency(self):
        problem = super()._inconsistency()
        if problem:
            return problem
        nband, npar = len(self.filters), len(self.parameters)
        ends = {"flux": (self.flux_net, npar - 1, nband), "mfrac": (self.mfrac_net, 2, sfh.NBINS)}
        for name, (net, n_in, n_out) in ends.items():
            if (net.widths[0], net.widths[-1]) != (n_in, n_out):
                return f"network {name!r} is {net.widths[0]} -> {net.widths[-1]}"
            if not all(np.isfinite(a).all() for a in net.tensors("").values()):
                return f"network {name!r} is not finite"
        return None
