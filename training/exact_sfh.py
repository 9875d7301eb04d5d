"""Star-formation histories for `ExactSPS`: cosmology, bin masses, and ages of stars.

Everything is in float64 and differentiable, redshift included. Times are
lookback times in years.
"""

import math

import numpy as np
import torch
from scipy.interpolate import CubicSpline

from prospect_emu.cosmology import flux_factor
from prospect_emu.errors import ProspectEmuError
from prospect_emu.networks import sfh
from prospect_emu.sps.ages import EDGE

_LOG_E = math.log10(math.e)
_NODES = 4096


class Cosmology:
    """Age of the universe and flux factor as torch splines in ln(1 + z).

    The nodes are those of `prospect_emu.networks.sfh`, so that both agree to rounding.

    Parameters
    ----------
    device : torch.device or str
    zmax : float
    """

    def __init__(self, device="cpu", zmax=20.0):
        x = np.linspace(0.0, np.log1p(zmax), _NODES)
        z = np.expm1(x)
        # The flux factor diverges as 1/z^2 at z = 0; z^2 times it is smooth.
        z[0] = 1e-9
        values = np.stack([np.log(sfh.age_of_universe(z)), np.log(flux_factor(z) * z**2)], axis=-1)
        spline = CubicSpline(x, values)
        self.step = x[1]
        self.nodes = torch.tensor(x, device=device)
        self.coef = torch.tensor(spline.c.copy(), device=device)  # (4, cell, quantity)

    def _spline(self, zred, which):
        x = torch.log1p(zred)
        cell = (x.detach() / self.step).long().clamp(0, _NODES - 2)
        dx = x - self.nodes[cell]
        c = self.coef[:, cell, which]
        return ((c[0] * dx + c[1]) * dx + c[2]) * dx + c[3]

    def age(self, zred):
        """Age of the universe in years, shape of `zred`."""
        return torch.exp(self._spline(zred, 0))

    def flux_factor(self, zred):
        """`prospect_emu.cosmology.flux_factor`, shape of `zred`."""
        return torch.exp(self._spline(zred, 1)) / zred**2


def bin_edges(age):
    """Edges of the seven bins in years, shape (..., 8), from the age of the universe (...)."""
    last = torch.log10(age)
    steps = torch.linspace(0.0, 1.0, 5, dtype=age.dtype, device=age.device)
    middle = 10.0 ** (8.0 + (torch.log10(0.9 * age)[..., None] - 8.0) * steps)
    first = torch.tensor([1.0, 3e7], dtype=age.dtype, device=age.device)
    parts = [first.expand(*age.shape, 2), middle, (10.0**last)[..., None]]
    return torch.cat(parts, dim=-1)


def bin_masses(logmass, ratios, edges):
    """`prospect_emu.networks.sfh.bin_masses` in torch: Msun formed per bin, shape (..., 7)."""
    log_sfr = torch.cat([torch.zeros_like(ratios[..., :1]), -torch.cumsum(ratios, dim=-1)], dim=-1)
    log_sfr = log_sfr - log_sfr.detach().amax(dim=-1, keepdim=True)
    mass = torch.diff(edges, dim=-1) * 10.0**log_sfr
    return 10.0 ** logmass[..., None] * mass / mass.sum(dim=-1, keepdim=True)


class AgeWeights:
    """Shares of the simple stellar populations in each bin's stars.

    FSPS interpolates populations linearly in log(age). A star-formation rate
    that is linear in time on a piece of history then gives each population a
    weight in closed form: with ``I = int SFR dt`` and ``J = int SFR log10(t) dt``
    between two populations at x0 < x1, the older takes ``(J - x0 I) / (x1 - x0)``
    and the younger the rest. Stars younger than the youngest population count
    as it; stars older than the oldest are lost.

    Parameters
    ----------
    log_age : ndarray, shape (nage,)
        log10(years), increasing.
    device : torch.device or str
    """

    def __init__(self, log_age, device="cpu"):
        # A node at one year stands before the youngest population.
        x = torch.tensor(np.concatenate([[0.0], log_age]), dtype=torch.float64, device=device)
        self.x, self.t, self.dx = x, 10.0**x, torch.diff(x)
        if bool((torch.diff(self.t) < 3.0 * EDGE * self.t[1:]).any()):
            raise ProspectEmuError(
                "Populations closer than 0.03 % in age; ExactSPS needs wider steps."
            )

    def __call__(self, edges):
        """Weights per Msun formed in a bin.

        Parameters
        ----------
        edges : Tensor, shape (..., 8)
            Bin edges in years.

        Returns
        -------
        Tensor, shape (..., 7, nage)
        """
        rate = 1.0 / torch.diff(edges, dim=-1)
        lo, hi = edges * (1.0 - EDGE), edges * (1.0 + EDGE)
        weights = self._flat(hi[..., :-1], lo[..., 1:])
        return self._add_ramps(weights, lo[..., 1:-1], hi[..., 1:-1]) * rate[..., None]

    def _flat(self, start, stop):
        """Weights (..., nage) of a constant SFR of one on [start, stop] (...)."""
        start, stop = start[..., None], stop[..., None]
        t = torch.minimum(torch.maximum(self.t, start), stop)
        x = torch.minimum(torch.maximum(self.x, torch.log10(start)), torch.log10(stop))
        mass, moment = torch.diff(t, dim=-1), torch.diff(t * (x - _LOG_E), dim=-1)
        older = (moment[..., 1:] - self.x[1:-1] * mass[..., 1:]) / self.dx[1:]
        younger = torch.nn.functional.pad(mass[..., 1:] - older, (0, 1))
        return younger + torch.cat([mass[..., :1], older], dim=-1)

    def _add_ramps(self, weights, start, stop):
        """Add the ramps across inner edges, (..., 6), to weights (..., 7, nage) of unit rates.

        On a ramp the SFR goes from the younger bin's to the older's. It is so
        short that it meets two cells between populations at most.
        """
        nage = self.dx.numel()
        cell = torch.searchsorted(self.x, torch.log10(start).detach(), right=True) - 1
        cell = torch.stack([cell, cell + 1], dim=-1)
        known = cell < nage
        cell = cell.clamp(max=nage - 1)
        inner = torch.minimum(torch.maximum(self.t[cell[..., 0] + 1], start), stop)
        t0, t1 = torch.stack([start, inner], -1), torch.stack([inner, stop], -1)
        x0, x1 = torch.log10(t0), torch.log10(t1)
        # Moments about the cell's younger end; the ramp's own start is the origin
        # of its slope, which keeps the digits of so short an interval.
        x0, x1 = (x - self.x[cell] for x in (x0, x1))
        mass = t1 - t0
        moment = t1 * (x1 - _LOG_E) - t0 * (x0 - _LOG_E)
        slope, start = 1.0 / (stop - start)[..., None], start[..., None]
        rise = mass * ((t1 + t0) / 2.0 - start) * slope
        tilt = t1**2 / 2.0 * (x1 - _LOG_E / 2.0) - t0**2 / 2.0 * (x0 - _LOG_E / 2.0)
        rise_moment = (tilt - start * moment) * slope
        parts = []
        for m, j in ((mass - rise, moment - rise_moment), (rise, rise_moment)):
            # Before the youngest population all mass counts as it.
            older = torch.where(cell == 0, m, j / self.dx[cell])
            parts.append(torch.stack([m - older, older], dim=-1) * known[..., None])
        source = torch.stack(parts, dim=-3)  # (..., ramp, bin side, cell, population)
        population = torch.stack([(cell - 1).clamp(min=0), cell], dim=-1)
        side = torch.arange(6, device=cell.device)[:, None] + torch.arange(2, device=cell.device)
        index = population[..., None, :, :] + nage * side[:, :, None, None]
        return (
            weights.flatten(-2)
            .scatter_add(-1, index.flatten(-4), source.flatten(-4))
            .view_as(weights)
        )
