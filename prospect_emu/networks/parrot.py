"""Networks of Parrot (Mathews et al. 2023), converted by `prospect_emu.networks.foreign`.

They take all 18 parameters, mass and redshift among them, to arsinh magnitudes. The forward pass
is kept as it is, and its magnitudes become fluxes exactly, which in Parrot's own runtime they do
not beyond AB 33.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..observe.magnitudes import arsinh_to_maggies
from .emulator import Emulator
from .emulator_base import reference_scale
from .network import MLP
from .stitched import fading_weights
from .vector import PARAMETERS


@dataclass(frozen=True, repr=False)
class ParrotEmulator(Emulator):
    """A network that was converted, see `prospect_emu.networks.foreign.convert`.

    Attributes
    ----------
    nets : tuple of MLP
        18 parameters to arsinh magnitudes, by increasing redshift.
    """

    nets: tuple = ()

    KIND, SCHEMA = "prospect_emu parrot", 1
    OLD_KINDS: ClassVar[tuple] = ()

    def __repr__(self):
        n, m = len(self.filters), len(self.nets)
        return f"ParrotEmulator({self.name!r}, {n} bands, {m} networks)"

    @property
    def domains(self):
        """Redshift range of each network, shape (npart, 2)."""
        return np.array(self.manifest["domains"], dtype=float)

    def network_magnitudes(self, theta):
        """The networks' arsinh magnitudes (n, nband), summed as Parrot sums them."""
        weights = fading_weights(theta[:, self.index("zred")], self.domains)
        out = np.zeros((len(theta), len(self.filters)))
        for net, weight in zip(self.nets, weights.T, strict=True):
            some = weight > 0.0
            if some.any():
                out[some] += weight[some, None] * net(theta[some])
        return out

    def reference_maggies(self, theta):
        scale = reference_scale(theta[:, 0], theta[:, self.index("zred")])
        flux = np.maximum(arsinh_to_maggies(self.network_magnitudes(theta)), 0.0)
        return flux / scale[:, None]

    def at_redshift(self, zred):
        self.check_redshift(zred)
        return self

    def _outputs(self, columns):
        return {"nets": tuple(net.select(columns) for net in self.nets)}

    def _tensors(self):
        out = self.mfrac_net.tensors("mfrac")
        for i, net in enumerate(self.nets):
            out |= net.tensors(f"net_{i}")
        return out

    @classmethod
    def _from_tensors(cls, common, tensors, where):
        nets = [
            MLP.from_tensors(tensors, f"net_{i}", where)
            for i in range(len(common["manifest"]["domains"]))
        ]
        masses = MLP.from_tensors(tensors, "mfrac", where)
        return cls(**common, mfrac_net=masses, nets=tuple(nets))

    def _inconsistency(self):
        ends = (len(PARAMETERS), len(self.filters))
        for net in self.nets:
            if (net.widths[0], net.widths[-1]) != ends:
                return f"a network is {net.widths[0]} -> {net.widths[-1]}"
            if not all(np.isfinite(a).all() for a in net.tensors("").values()):
                return "a network is not finite"
        return super(Emulator, self)._inconsistency()
