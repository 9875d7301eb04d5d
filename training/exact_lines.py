"""Nebular emission lines for `ExactSPS`, each by its luminosity rather than in the spectrum."""

import numpy as np
import torch

from prospect_emu.sps.constants import PHOTON_UNIT, REFERENCE, locate

from .exact_dust import find_cell
from .exact_stars import at_populations


class Lines:
    """Luminosities of the lines behind the same dust as the stars.

    Parameters
    ----------
    tables : dict of ndarray
        From `load_tables`.
    gas_logu : float
        Ionisation parameter, fixed.
    nneb, nyoung : int
        Populations with nebulae, and how many of them are behind birth clouds.
    device
    """

    def __init__(self, tables, gas_logu, nneb, nyoung, device):
        def double(a):
            return torch.tensor(np.ascontiguousarray(a), dtype=torch.float64, device=device)

        wave, line = tables["wave"], tables["line_wave"]
        self.nyoung = nyoung
        self.wavelengths = double(line)
        self._logz = double(tables["neb_logz"])
        self._log = double(
            at_populations(tables, "neb_logline", gas_logu, nneb) + np.log10(PHOTON_UNIT)
        )
        # FSPS interpolates the transmission of the diffuse dust between wavelengths.
        left = np.clip(locate(wave, line), 1, wave.size - 1) - 1
        self._left = torch.tensor(left, device=device)
        self._frac = double((line - wave[left]) / (wave[left + 1] - wave[left]))

    def __call__(self, photons, gas_logz, dust1, through):
        """Lines of each row and age bin.

        Parameters
        ----------
        photons : Tensor, shape (n, nbin, nneb)
            Ionising photons of each population in `PHOTON_UNIT`.
        gas_logz, dust1 : Tensor, shape (n,)
        through : Tensor, shape (n, nwave)
            What the diffuse dust transmits.

        Returns
        -------
        emitted, lost : Tensor, shape (n, nbin, nline)
            Lsun behind the dust, and Lsun absorbed; float64.
        """
        cell, frac = find_cell(self._logz, gas_logz)
        frac = frac.clamp(0.0, 1.0)[:, None, None]
        per_photon = 10.0 ** torch.lerp(self._log[cell], self._log[cell + 1], frac)
        # FSPS computes the light of these tables in the same way, see Nebular.
        young = photons[..., : self.nyoung] @ per_photon[:, : self.nyoung]
        old = photons[..., self.nyoung :] @ per_photon[:, self.nyoung :]
        through = through.double()
        left, right = through[:, self._left], through[:, self._left + 1]
        diffuse = torch.lerp(left, right, self._frac)[:, None]
        cloud = torch.exp(-dust1[:, None] * REFERENCE / self.wavelengths)[:, None]
        emitted = (young * cloud + old) * diffuse
        return emitted, young + old - emitted


class LineProjector:
    """Lines in bands, as Prospector adds them: ``sum T lambda F / ab_zero_counts``.

    Parameters
    ----------
    filters : sequence of sedpy.observate.Filter
    device
    """

    def __init__(self, filters, device):
        def double(a):
            return torch.tensor(np.asarray(a, dtype=float), device=device)

        self._curves = [(double(f.wavelength), double(f.transmission)) for f in filters]
        self._counts = [float(f.ab_zero_counts) for f in filters]

    def __call__(self, luminosity, wave, zred):
        """Maggies per ``flux_factor / (1 + z)`` and per 3631 Jy in cgs, (n, nbin, nband).

        Parameters
        ----------
        luminosity : Tensor, shape (n, nbin, nline)
        wave : Tensor, shape (nline,)
            Rest frame, Angstrom.
        zred : Tensor, shape (n,)
        """
        lam = wave * (1.0 + zred)[:, None]
        bands = []
        for (x, y), counts in zip(self._curves, self._counts, strict=True):
            cell = (torch.searchsorted(x, lam.detach().contiguous()) - 1).clamp(0, len(x) - 2)
            slope = (y[cell + 1] - y[cell]) / (x[cell + 1] - x[cell])
            inside = (lam >= x[0]) & (lam <= x[-1])
            weight = torch.where(inside, y[cell] + slope * (lam - x[cell]), 0.0) * lam / counts
            bands.append((luminosity * weight[:, None]).sum(-1))
        return torch.stack(bands, dim=-1)
