"""What a network of the 18-parameter model sees of a vector: all but the mass, which scales it.

Networks that are trained now see combinations besides, along which fluxes change evenly: the
SFR ratios change the masses of all bins, and the indices of dust its depth in the ultraviolet.
"""

import numpy as np

from ..sps.constants import REFERENCE, namespace
from . import sfh
from .vector import PARAMETERS, RATIO_NAMES

_AT = {name: i for i, name in enumerate(PARAMETERS)}
_RATIOS = slice(_AT[RATIO_NAMES[0]], _AT[RATIO_NAMES[-1]] + 1)
# Added before logarithms: of a bin's share of the mass, and of dust2, which may vanish.
LEAST_SHARE, LEAST_DUST2 = 1e-8, 1e-3
# Angstrom, where the depth of the diffuse dust is an input; its law without the bump.
DEPTHS = (1100.0, 2200.0, 16500.0)
PLAIN = len(PARAMETERS) - 1
ALL = PLAIN + sfh.NBINS + 4 + len(DEPTHS)


def network_inputs(theta, size, durations=None):
    """What a network with `size` inputs is given.

    Parameters
    ----------
    theta : ndarray or tensor, shape (n, 18)
    size : int
        `PLAIN`, the parameters behind the mass, or `ALL`, where these follow: log10 of the share
        of the mass in each bin, ln(dust2), the depths of the birth clouds and of both dusts at
        5500 Angstrom, the diffuse dust's depth at `DEPTHS`, and ln(duste_umin).
    durations : ndarray or tensor, shape (n, 7), optional
        Lengths of the bins in years, if they are known; of tensors with gradients they must be.

    Returns
    -------
    ndarray or tensor, shape (n, size)
    """
    if size == PLAIN:
        return theta[:, 1:]
    if size != ALL:
        raise ValueError(f"networks have {PLAIN} or {ALL} inputs, not {size}")
    xp = namespace(theta)
    if durations is None:
        durations = sfh.bin_durations(theta[:, _AT["zred"]])
    share = sfh.masses_in(durations, 0.0 * theta[:, 0], theta[:, _RATIOS])
    names = "dust2", "dust_index", "dust1_fraction", "duste_umin"
    dust2, index, fraction, umin = (theta[:, _AT[name]] for name in names)
    dust1 = fraction * dust2
    more = [xp.log(dust2 + LEAST_DUST2), dust1, dust1 + dust2]
    more += [dust2 * xp.exp(index * float(np.log(at / REFERENCE))) for at in DEPTHS]
    more = xp.stack([*more, xp.log(umin)], -1)
    return xp.concatenate([theta[:, 1:], xp.log10(share + LEAST_SHARE), more], -1)
