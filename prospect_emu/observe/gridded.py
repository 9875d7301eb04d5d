"""Bands of spectra as Prospector 2 has them: broadened, on the grid of a sedpy FilterSet.

For `prospect_emu.sps.fold.compile_sps`, in place of filters.
"""

import numpy as np

from ..cosmology import LIGHTSPEED, MAGGIE
from .photometry import FilterProjector
from .pixels import Samples


class GriddedBands:
    """Weights of spectral nodes in bands as Prospector 2 has them, with what it does before.

    A sedpy FilterSet interpolates f_lambda linearly in wavelength to a grid of its own, and
    sums there over curves that are resampled to it.

    Parameters
    ----------
    sets : sequence of FilterSet or of lists of sedpy.observate.Filter
        Lists have sedpy's usual quadrature.
    wave : ndarray, shape (nwave,)
        Rest-frame, Angstrom.
    chosen : ndarray of bool, shape (nband,), optional
        Of the bands of all sets.
    smooth : sparse matrix, shape (nwave, nwave), optional
        What is done to the spectrum before.
    """

    def __init__(self, sets, wave, chosen=None, smooth=None):
        self.sets, self.wave, self.smooth = list(sets), np.asarray(wave, dtype=float), smooth
        every = [f for s in self.sets for f in getattr(s, "filters", s)]
        self._chosen = np.ones(len(every), dtype=bool) if chosen is None else np.asarray(chosen)
        self.filters = [f for f, some in zip(every, self._chosen, strict=True) if some]

    @property
    def grids(self):
        """Wavelengths in Angstrom and weights of f_lambda there, of each band of FilterSets."""
        every = [
            (s.lam[f.inds], trans[f.inds])
            for s in self.sets
            for f, trans in zip(s.filters, s.trans, strict=True)
        ]
        return [grid for grid, some in zip(every, self._chosen, strict=True) if some]

    def matrix(self, zred):
        """Dense weights at one redshift, shape (nband, nwave)."""
        parts = [
            self._gridded(s, zred)
            if hasattr(s, "trans")
            else FilterProjector(s, self.wave, "sedpy").matrix(zred)
            for s in self.sets
        ]
        out = np.concatenate(parts)[self._chosen]
        return out if self.smooth is None else np.asarray(out @ self.smooth)

    def _gridded(self, filters, zred):
        lam, seen = filters.lam, self.wave * (1.0 + zred)
        left = np.clip(np.searchsorted(seen, lam, side="right") - 1, 0, seen.size - 2)
        share = (lam - seen[left]) / (seen[left + 1] - seen[left])
        inside = (lam >= seen[0]) & (lam <= seen[-1])
        out = np.empty((len(filters), seen.size))
        for i, trans in enumerate(filters.trans * inside):
            out[i] = np.bincount(left, trans * (1.0 - share), seen.size)
            out[i] += np.bincount(left + 1, trans * share, seen.size)
        return out * (LIGHTSPEED * MAGGIE / seen**2)

    def weights(self, zred):
        """As `FilterProjector.weights`."""
        matrix = self.matrix(zred)
        # A band that sees nothing has one sample of no weight.
        some = matrix != 0.0
        some[~some.any(axis=1), 0] = True
        band, node = np.nonzero(some)
        start = np.searchsorted(band, np.arange(len(matrix)))
        return node, matrix[band, node], start


class GriddedSamples(Samples):
    """`Samples` whose bands are `GriddedBands`.

    Parameters
    ----------
    projector : GriddedBands
    nodes, lines, delta_zred
        See `Samples`.

    Attributes
    ----------
    quadrature : {"gridded", "sedpy"}
        Of the bands, where their redshift varies.
    """

    def __init__(self, projector, nodes=(), lines=(), delta_zred=0.0):
        nodes, lines = (np.asarray(a, dtype=int) for a in (nodes, lines))
        super().__init__(projector.filters, projector.wave, nodes, lines, delta_zred)
        self.projector = projector
        if self.bands:
            self._bands = projector
        gridded = all(hasattr(s, "trans") for s in projector.sets)
        self.quadrature = "gridded" if gridded else "sedpy"
