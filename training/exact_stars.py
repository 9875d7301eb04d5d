"""Stars and ionised gas for `ExactSPS`: one matrix product per metallicity and gas cell.

A galaxy's spectrum is linear in the weights of its simple stellar populations,
and so are the ionising photons that its nebulae turn into light. Rows are
sorted by grid cell so that each cell's populations are read once per batch.

Units here: luminosities per frequency are Lsun / (1e15 Hz) and ionising
photons 1e46 / s, so that single precision holds them.
"""

import numpy as np
import torch

from prospect_emu.sps.constants import LNU_UNIT, PHOTON_UNIT, interpolate, locate
from prospect_emu.sps.nebular import ionising, ionising_photons, line_profiles

from .exact_dust import find_cell

# Nodes across one cell of log gas metallicity, in which the light per photon is
# exponential: see `Nebular`.
_CELL_NODES = 8


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
    tables : dict of ndarray
        From `load_tables`.
    young_age : float
        log10(years) up to which stars are behind the birth cloud.
    dtype, device
    """

    def __init__(self, tables, young_age, dtype, device):
        def double(a):
            return torch.tensor(a, dtype=torch.float64, device=device)

        wave, age = tables["wave"], tables["log_age"]
        self.logz = double(np.log10(tables["metallicity"] / tables["zsol"]))
        self.nyoung = int(locate(age, young_age))
        # Populations young enough to have nebulae lose their ionising light to them.
        self.nneb = int(locate(age, tables["neb_log_age"][-1]))
        lnu = tables["ssp_lnu"] / LNU_UNIT
        self.photons = double(
            ionising_photons(wave, tables["ssp_lnu"][:, : self.nneb]) / PHOTON_UNIT
        )
        lnu[:, : self.nneb, : ionising(wave)] = 0.0
        lnu = torch.tensor(lnu, dtype=dtype, device=device)
        self._parts = [lnu[:, : self.nyoung].contiguous(), lnu[:, self.nyoung :].contiguous()]
        self._mass, self._loglbol = double(tables["ssp_mass"]), double(tables["ssp_loglbol"])
        self.dtype = dtype

    def cell(self, logzsol):
        """Metallicity cell and position in it; extrapolated beyond the library as FSPS does."""
        return find_cell(self.logz, logzsol)

    def light(self, weights, frac, runs):
        """L_nu of young and old stars, each (n, nbin, nwave).

        Parameters
        ----------
        weights : Tensor, shape (n, nbin, nage)
            Msun formed, rows in the order of `runs`.
        frac : Tensor, shape (n,)
            Position in the metallicity cell.
        runs : list of (cell, first row, last row + 1)
        """
        out = []
        young_and_old = weights.split([self.nyoung, weights.shape[-1] - self.nyoung], -1)
        for part, w in zip(self._parts, young_and_old, strict=True):
            f = frac[:, None, None]
            both = torch.cat([w * (1.0 - f), w * f], dim=-1).to(self.dtype)
            pieces = [
                both[lo:hi].flatten(0, 1) @ part[c : c + 2].flatten(0, 1) for c, lo, hi in runs
            ]
            out.append(torch.cat(pieces).view(*w.shape[:2], -1))
        return out

    def between(self, table, cell, frac):
        """Values (n, nage) of a table (nz, nage) at a position in a cell."""
        return torch.lerp(table[cell], table[cell + 1], frac[:, None])

    def surviving_mass(self, cell, frac):
        """Surviving mass of each population per Msun formed, shape (n, nage)."""
        return self.between(self._mass, cell, frac)

    def luminosity(self, cell, frac):
        """Bolometric luminosity of each population in Lsun per Msun formed, shape (n, nage)."""
        return 10.0 ** self.between(self._loglbol, cell, frac)


class Nebular:
    """Nebular continuum and lines in the spectrum.

    FSPS interpolates the logarithm of the light per ionising photon linearly
    in gas metallicity. Within a cell that light is therefore an exponential, which
    a polynomial through `_CELL_NODES` Chebyshev-Lobatto nodes reproduces (tested),
    and the light of a galaxy is one matrix product. The spectra of
    all nodes and ages of a cell are alike: a truncated singular value decomposition
    shortens the product.

    Parameters
    ----------
    tables : dict of ndarray
    gas_logu : float
        Ionisation parameter, fixed.
    nneb, nyoung : int
        Populations with nebulae, and how many of them are young.
    lines : bool
        Whether the lines are in the spectrum.
    dtype, device
    """

    def __init__(self, tables, gas_logu, nneb, nyoung, lines, dtype, device):
        self.dtype, self.nneb, self.nyoung = dtype, nneb, nyoung
        self.logz = torch.tensor(tables["neb_logz"], dtype=torch.float64, device=device)
        cont, line = (
            at_populations(tables, name, gas_logu, nneb) for name in ("neb_logcont", "neb_logline")
        )
        profiles = line_profiles(tables["wave"], tables["resolution"], tables["line_wave"])
        position = 0.5 - 0.5 * np.cos(np.pi * np.arange(_CELL_NODES) / (_CELL_NODES - 1))
        # Lagrange polynomials in powers of 2 x - 1.
        vandermonde = np.vander(2.0 * position - 1.0, increasing=True)
        self._lagrange = torch.tensor(np.linalg.inv(vandermonde), device=device)
        self._factors = []
        tolerance = 1e-10 if dtype == torch.float64 else 1e-6
        for c in range(self.logz.numel() - 1):
            x = position[:, None, None]
            light = 10.0 ** (cont[c] + x * (cont[c + 1] - cont[c]))
            if lines:
                light += 10.0 ** (line[c] + x * (line[c + 1] - line[c])) @ profiles
            light *= PHOTON_UNIT / LNU_UNIT
            pair = (
                _factorise(part.reshape(-1, part.shape[-1]), tolerance)
                for part in (light[:, :nyoung], light[:, nyoung:])
            )
            self._factors.append(
                [[torch.tensor(a, dtype=dtype, device=device) for a in two] for two in pair]
            )

    def add_to(self, young, old, photons, gas_logz):
        """Add the nebulae's L_nu to that of the young and old stars, in place.

        Parameters
        ----------
        young, old : Tensor, shape (n, nbin, nwave)
        photons : Tensor, shape (n, nbin, nneb)
            Ionising photons of each population, in 1e46/s.
        gas_logz : Tensor, shape (n,)
        """
        cell, frac = find_cell(self.logz, gas_logz)
        s = 2.0 * frac.clamp(0.0, 1.0) - 1.0
        powers = torch.cumprod(torch.stack([torch.ones_like(s)] + [s] * (_CELL_NODES - 1), -1), -1)
        lagrange = powers @ self._lagrange
        order, runs = sort_by_cell(cell, self.logz.numel() - 1)
        parts = photons.split([self.nyoung, self.nneb - self.nyoung], dim=-1)
        for c, lo, hi in runs:
            rows = order[lo:hi]
            for target, q, (left, right) in zip((young, old), parts, self._factors[c], strict=True):
                # (row, bin, node x age), in the order of the rows of `left`.
                share = lagrange[rows, None, :, None] * q[rows, :, None]
                target.index_add_(0, rows, share.flatten(2).to(self.dtype) @ left @ right)


def at_populations(tables, name, gas_logu, nneb):
    """A nebular table at the populations' ages and one gas_logu: (nlogz, nneb, ...)."""
    logu = tables["neb_logu"]
    u = np.clip(gas_logu, logu[0], logu[-1])
    table = np.moveaxis(interpolate(logu, np.moveaxis(tables[name], 2, -1), u), 1, -1)
    age = np.clip(tables["log_age"][:nneb], tables["neb_log_age"][0], tables["neb_log_age"][-1])
    return np.moveaxis(interpolate(tables["neb_log_age"], table, age), -1, 1)


def _factorise(matrix, tolerance):
    """Factors (row, rank), (rank, column), to `tolerance` of each column's largest value."""
    scale = np.abs(matrix).max(axis=0)
    scale[scale == 0.0] = 1.0
    u, s, vt = np.linalg.svd(matrix / scale, full_matrices=False)
    # The tail's root sum of squares bounds the error of every element.
    tail = np.sqrt(np.cumsum(s[::-1] ** 2)[::-1])
    rank = max(int(np.sum(tail > tolerance)), 1)
    return u[:, :rank] * s[:rank], vt[:rank] * scale
