"""Dust, intergalactic gas and AGN for `ExactSPS`: vectors on the wavelength grid.

The formulas are those of `prospect_emu.sps`, here in torch.
"""

import numpy as np
import torch

from prospect_emu.sps import igm
from prospect_emu.sps.constants import REFERENCE, single
from prospect_emu.sps.dust_laws import bump, calzetti


class Attenuation:
    """Birth clouds in front of the young stars, diffuse dust in front of all.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
    dtype, device
    """

    def __init__(self, wave, dtype, device):
        vectors = (-calzetti(wave), -bump(wave), np.log(wave / REFERENCE), -REFERENCE / wave)
        self._vectors = [torch.tensor(v, dtype=dtype, device=device) for v in vectors]

    def __call__(self, fraction, dust2, index, young, old, dnu):
        """Attenuate the light of young and old stars.

        Parameters
        ----------
        fraction, dust2, index : Tensor, shape (n, 1)
            Depth of the clouds over that of the diffuse dust; the latter; its slope.
        young, old : Tensor, shape (n, nbin, nwave)
        dnu : Tensor, shape (nwave,)
            Integration weights over frequency.

        Returns
        -------
        Tensor (n, nbin, nwave), (n, nbin), (n, nwave)
            Light, absorbed luminosity, and what the diffuse dust transmits.
        """
        return _attenuate(*self._vectors, fraction, dust2, index, young, old, dnu)


def _attenuate(curve, bump, log_wave, cloud, fraction, dust2, index, young, old, dnu):
    curve = torch.addcmul(curve, single(0.85) - single(1.9) * index, bump)
    diffuse = curve * torch.exp(index * log_wave) * dust2
    cloud = ((fraction * dust2) * cloud)[:, None]
    through = torch.exp(diffuse)
    behind = torch.addcmul(old, young, torch.exp(cloud))
    # Summed from 1 - exp(-tau) directly: as a difference of two totals, the
    # absorbed light would drown in rounding where there is little dust.
    lost = torch.addcmul(young * torch.expm1(cloud), behind, torch.expm1(diffuse)[:, None])
    return behind * through[:, None], -(lost @ dnu), through


class Templates:
    """Spectra on a small grid, interpolated linearly between neighbours.

    Parameters
    ----------
    axes : sequence of ndarray
        Increasing nodes of each axis. Outside them the last node holds.
    table : ndarray, shape (len(axis), ..., nwave)
    dtype, device
    """

    def __init__(self, axes, table, dtype, device):
        self.axes = [torch.tensor(a, dtype=torch.float64, device=device) for a in axes]
        nonzero = np.flatnonzero(np.abs(table).reshape(-1, table.shape[-1]).max(axis=0))
        self.span = slice(int(nonzero[0]), int(nonzero[-1]) + 1)
        flat = table[..., self.span].reshape(-1, nonzero[-1] + 1 - nonzero[0])
        self.table = torch.tensor(flat, dtype=dtype, device=device)

    def __call__(self, *coordinates):
        """Spectra on ``wave[span]``, shape (n, nspan), at coordinates (n,) each."""
        index = torch.zeros_like(coordinates[0], dtype=torch.long)[:, None]
        weight = torch.ones_like(coordinates[0])[:, None]
        for axis, x in zip(self.axes, coordinates, strict=True):
            cell, frac = find_cell(axis, x)
            frac = frac.clamp(0.0, 1.0)
            index = (index * axis.numel() + cell[:, None])[..., None]
            index = torch.cat([index, index + 1], dim=-1).flatten(1)
            both = torch.stack([1.0 - frac, frac], dim=-1)
            weight = (weight[..., None] * both[:, None, :]).flatten(1)
        return torch.nn.functional.embedding_bag(
            index, self.table, mode="sum", per_sample_weights=weight.to(self.table.dtype)
        )


def find_cell(axis, x):
    """Cell of an increasing axis and the position in it, 0 at its start and 1 at its end.

    Outside the axis the end cells are continued.
    """
    cell = torch.searchsorted(axis, x.detach().contiguous(), right=True) - 1
    cell = cell.clamp(0, axis.numel() - 2)
    return cell, (x - axis[cell]) / (axis[cell + 1] - axis[cell])


class Intergalactic:
    """Transmission of the intergalactic gas between a galaxy and the observer.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
    dtype, device
    """

    def __init__(self, wave, dtype, device):
        exponent, vector = igm.terms(wave)
        self.span = slice(0, vector.shape[1])
        self._exponent = torch.tensor(exponent, device=device)
        self._vector = torch.tensor(vector, device=device)
        self._index = torch.arange(vector.shape[1], device=device)
        self.dtype = dtype

    def __call__(self, zred):
        """Transmission on ``wave[span]``, shape (n, nspan), for redshifts (n,)."""
        tau = (1.0 + zred[:, None]) ** self._exponent @ self._vector
        # The fit for ionising light turns down at short wavelengths; FSPS
        # holds the largest value from there on.
        top, where = tau.max(dim=1, keepdim=True)
        return torch.exp(-torch.where(self._index < where, top, tau)).to(self.dtype)
