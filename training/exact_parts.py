"""Parts of `ExactSPS`: `prospect_emu.sps` on torch's tensors, for batches and with gradients.

What is computed once is computed by `prospect_emu.sps`; so are ages, cells and the
intergalactic gas. Rows are sorted by grid cell, so that each cell's spectra are read once
per batch, and light per ionising photon is kept in a form that makes it a matrix product.
Luminosities per frequency are in `LNU_UNIT`, ionising photons in `PHOTON_UNIT`.
"""

import numpy as np
import torch

from prospect_emu.cosmology import MAGGIES_AT_10PC, splines
from prospect_emu.sps import ages, nebular
from prospect_emu.sps.constants import REFERENCE, between, find_cell, mixture, single
from prospect_emu.sps.dust_laws import bump, calzetti

# Nodes across one cell of log gas metallicity, in which the light per photon is
# exponential: see `Nebular`.
_CELL_NODES = 8
# Across the ramp from one age bin to the next, as Gauss-Legendre's three nodes have it: the
# outer two, and their weight. The one between is the step.
_RAMP, _WEIGHT = (-(0.6**0.5), 0.6**0.5), 5.0 / 18.0


def double(a, device):
    """A float64 tensor."""
    return torch.tensor(np.ascontiguousarray(a), dtype=torch.float64, device=device)


class Cosmology:
    """`prospect_emu.cosmology` in torch: the same splines in ln(1 + z)."""

    def __init__(self, device="cpu"):
        both = splines()
        self.nodes = double(both[0].x, device)
        self.coef = double(np.stack([s.c for s in both], -1), device)  # (4, cell, quantity)

    def _spline(self, zred, which):
        x = torch.log1p(zred)
        cell = (x.detach() / self.nodes[1]).long().clamp(0, self.nodes.numel() - 2)
        dx = x - self.nodes[cell]
        c = self.coef[:, cell, which]
        return torch.exp(((c[0] * dx + c[1]) * dx + c[2]) * dx + c[3])

    def age(self, zred):
        """Age of the universe in years, shape of `zred`."""
        return self._spline(zred, 0)

    def luminosity_distance(self, zred):
        """Mpc, shape of `zred`."""
        return zred * self._spline(zred, 1)

    def flux_factor(self, zred):
        """`prospect_emu.cosmology.flux_factor`, shape of `zred`, above zero."""
        return MAGGIES_AT_10PC * (1.0 + zred) / (1e5 * self.luminosity_distance(zred)) ** 2


def bin_weights(log_age, edges):
    """Weights of populations per Msun formed in each bin, (..., nbin, nage), from edges in years.

    As `prospect_emu.sps.ages.step_weights`, but with the ramps that FSPS draws across the
    inner edges: means of what steps there would give.
    """
    rate = 1.0 / torch.diff(edges)
    # The first edge is moved outwards, and the last inwards.
    ends = edges[..., :1] * (1.0 + ages.EDGE), edges[..., -1:] * (1.0 - ages.EDGE)
    steps = torch.cat([ends[0], edges[..., 1:-1], ends[1]], -1)
    step = ages.constant_since(log_age, steps)
    ramp = [ages.constant_since(log_age, edges[..., 1:-1] * (1.0 + ages.EDGE * x)) for x in _RAMP]
    # As differences, so that populations that both sides of a bin hold cancel exactly.
    middle = step[..., 1:-1, :]
    change = ((ramp[0] - middle) + (ramp[1] - middle)) * _WEIGHT
    since = step + torch.nn.functional.pad(change, (0, 0, 1, 1))
    return torch.diff(since, dim=-2) * rate[..., None]


def sort_by_cell(cell, ncell):
    """Row order by cell and the bounds of each cell's rows: (order, list of (cell, lo, hi))."""
    order = torch.argsort(cell)
    stops = torch.cumsum(torch.bincount(cell, minlength=ncell), 0).tolist()
    runs = zip(range(ncell), [0, *stops[:-1]], stops, strict=True)
    return order, [(c, lo, hi) for c, lo, hi in runs if hi > lo]


class Stars:
    """Populations between metallicities: light (without ionising photons), mass, luminosity.

    Parameters
    ----------
    g : Ingredients
    nyoung : int
        Populations behind the birth clouds.
    dtype, device
    """

    def __init__(self, g, nyoung, dtype, device):
        self.logz, self.photons = double(g.logz, device), double(g.photons, device)
        lnu = g.stars_lnu.copy()
        # Populations young enough to have nebulae lose their ionising light to them.
        lnu[:, : g.nneb, : nebular.ionising(g.wave)] = 0.0
        lnu = torch.tensor(lnu, dtype=dtype, device=device)
        self._parts = [lnu[:, :nyoung].contiguous(), lnu[:, nyoung:].contiguous()]
        self._mass, self._loglbol = double(g.stars_mass, device), double(g.stars_loglbol, device)
        self.nyoung, self.dtype = nyoung, dtype

    def cell(self, logzsol):
        """Metallicity cell and position in it; extrapolated beyond the library as FSPS does."""
        return find_cell(self.logz, logzsol, extrapolate=True)

    def light(self, weights, frac, runs):
        """L_nu (n, nwave) of young and of old stars of `weights` (n, nage), rows as in `runs`."""
        out, f = [], frac[:, None]
        young_and_old = weights.split([self.nyoung, weights.shape[-1] - self.nyoung], -1)
        for part, w in zip(self._parts, young_and_old, strict=True):
            both = torch.cat([w * (1.0 - f), w * f], dim=-1).to(self.dtype)
            pieces = [both[lo:hi] @ part[c : c + 2].flatten(0, 1) for c, lo, hi in runs]
            out.append(torch.cat(pieces))
        return out

    def surviving_mass(self, cell, frac):
        """Surviving mass of each population per Msun formed, shape (n, nage)."""
        return between(self._mass, cell, frac)

    def luminosity(self, cell, frac):
        """Bolometric luminosity of each population in Lsun per Msun formed, shape (n, nage)."""
        return 10.0 ** between(self._loglbol, cell, frac)


class Nebular:
    """Nebular continuum and lines, all in the spectrum.

    FSPS interpolates the logarithm of the light per ionising photon linearly
    in gas metallicity. Within a cell that light is therefore an exponential, which
    a polynomial through `_CELL_NODES` Chebyshev-Lobatto nodes reproduces (tested),
    and the light of a galaxy is one matrix product. The spectra of
    all nodes and ages of a cell are alike: a truncated singular value decomposition
    shortens the product.

    Parameters
    ----------
    g : Ingredients
    gas_logu : float
        Ionisation parameter, fixed.
    nyoung : int
        Populations behind the birth clouds.
    dtype, device
    """

    def __init__(self, g, gas_logu, nyoung, dtype, device):
        self.dtype, self.sizes = dtype, [nyoung, g.nneb - nyoung]
        self.logz = double(g.neb_logz, device)
        profiles = nebular.line_profiles(g.wave, g.resolution, g.line_wave)
        position = 0.5 - 0.5 * np.cos(np.pi * np.arange(_CELL_NODES) / (_CELL_NODES - 1))
        # Lagrange polynomials in powers of 2 x - 1.
        vandermonde = np.vander(2.0 * position - 1.0, increasing=True)
        self._lagrange = double(np.linalg.inv(vandermonde), device)
        self._exponent, self._factors = double(np.arange(_CELL_NODES), device), []
        tolerance = 1e-10 if dtype == torch.float64 else 1e-6
        for low, high in zip(g.neb_logz[:-1], g.neb_logz[1:], strict=True):
            nodes = low + position * (high - low), np.full(_CELL_NODES, gas_logu)
            light = nebular.continuum(g, *nodes) + nebular.lines(g, *nodes) @ profiles
            pair = (
                _factorise(part.reshape(-1, part.shape[-1]), tolerance)
                for part in (light[:, :nyoung], light[:, nyoung:])
            )
            self._factors.append(
                [[torch.tensor(a, dtype=dtype, device=device) for a in two] for two in pair]
            )

    def add_to(self, young, old, photons, gas_logz):
        """Add the nebulae's L_nu of `photons` (n, nneb) to young and old stars, in place."""
        cell, frac = find_cell(self.logz, gas_logz)
        lagrange = (2.0 * frac - 1.0)[:, None] ** self._exponent @ self._lagrange
        order, runs = sort_by_cell(cell, self.logz.numel() - 1)
        for c, lo, hi in runs:
            rows = order[lo:hi]
            parts = photons[rows].split(self.sizes, dim=-1)
            for target, q, (left, right) in zip((young, old), parts, self._factors[c], strict=True):
                # (row, node x age), in the order of the rows of `left`.
                share = (lagrange[rows, :, None] * q[:, None]).flatten(1)
                target.index_add_(0, rows, share.to(self.dtype) @ left @ right)


def _factorise(matrix, tolerance):
    """Factors (row, rank), (rank, column), to `tolerance` of each column's largest value."""
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0.0] = 1.0
    u, s, vt = np.linalg.svd(matrix / scale, full_matrices=False)
    # The tail's root sum of squares bounds the error of every element.
    tail = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1])
    rank = max(int(np.sum(tail > tolerance)), 1)
    return u[:, :rank] * s[:rank], vt[:rank] * scale


class Attenuation:
    """Birth clouds in front of the young stars, diffuse dust (Kriek & Conroy) in front of all."""

    def __init__(self, wave, dtype, device):
        vectors = (-calzetti(wave), -bump(wave), np.log(wave / REFERENCE), -REFERENCE / wave)
        self._vectors = [torch.tensor(v, dtype=dtype, device=device) for v in vectors]

    def __call__(self, fraction, dust2, index, young, old, dnu):
        """Attenuated light (n, nwave), luminosity absorbed (n,), and what the diffuse dust passes.

        `fraction` (n, 1) is the depth of the clouds over that of the diffuse dust, `dnu`
        (nwave,) are weights of an integral over frequency.
        """
        curve, bump, log_wave, cloud = self._vectors
        curve = torch.addcmul(curve, single(0.85) - single(1.9) * index, bump)
        diffuse = curve * torch.exp(index * log_wave) * dust2
        cloud = fraction * dust2 * cloud
        through = torch.exp(diffuse)
        behind = torch.addcmul(old, young, torch.exp(cloud))
        # Summed from 1 - exp(-tau) directly: as a difference of two totals, the
        # absorbed light would drown in rounding where there is little dust.
        lost = torch.addcmul(young * torch.expm1(cloud), behind, torch.expm1(diffuse))
        return behind * through, -(lost @ dnu), through


class Templates:
    """Spectra on a small grid of `axes`, interpolated linearly between neighbours."""

    def __init__(self, axes, table, dtype, device):
        self.axes = [double(a, device) for a in axes]
        nonzero = np.flatnonzero(np.abs(table).reshape(-1, table.shape[-1]).max(axis=0))
        self.first, self.stop = int(nonzero[0]), int(nonzero[-1]) + 1
        flat = table[..., self.first : self.stop].reshape(-1, self.stop - self.first)
        self.table = torch.tensor(flat, dtype=dtype, device=device)

    def __call__(self, *coordinates):
        """Spectra from index `first` to `stop`, (n, nspan), at coordinates (n,) each."""
        index, weight = mixture(self.axes, coordinates)
        return torch.nn.functional.embedding_bag(
            index, self.table, mode="sum", per_sample_weights=weight.to(self.table.dtype)
        )
