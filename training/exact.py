"""Exact batched stellar population synthesis: FSPS for the 18-parameter model, in torch.

What FSPS does for this model once its simple stellar populations exist is
linear algebra and interpolation. `ExactSPS` does it for whole batches, in
float64 or float32, on CPU or GPU, and differentiably. "Exact" means: no
emulation; differences from FSPS are those of arithmetic.
"""

from types import SimpleNamespace

import numpy as np
import torch

from prospect_emu.errors import ProspectEmuError, SetupError
from prospect_emu.files import read_kind
from prospect_emu.networks import sfh
from prospect_emu.networks.vector import FIXED, PARAMETERS, RATIO_NAMES
from prospect_emu.parameters import INGREDIENTS
from prospect_emu.sps import ages, igm, ingredients
from prospect_emu.sps.constants import LNU_UNIT, between
from prospect_emu.sps.nebular import frequency_weights

from . import exact_parts as parts
from .exact_photometry import BandProjector
from .exact_tables import KIND, load_tables
from .ingredient_tables import assemble

# Rows that one matrix product takes, and rows that on a CPU stay in cache
# through the element-wise stages.
_BLOCK, _CHUNK = 2048, {"cpu": 128}
_FREE = ("gas_logu", "dust_tesc")
_RATIOS = [PARAMETERS.index(name) for name in RATIO_NAMES]


def read(tables):
    """`Ingredients` in double precision, and a manifest, of what `ExactSPS` takes."""
    if isinstance(tables, ingredients.Ingredients):
        return tables, tables.manifest
    if isinstance(tables, dict):
        return assemble(tables, versions={}, dtype=float), {}
    if read_kind(tables, (KIND, ingredients.KIND)) == ingredients.KIND:
        found = ingredients.read_ingredients(tables)
        return found, found.manifest
    arrays, manifest = load_tables(tables)
    stars = {k: v for k, v in manifest.get("ssp_parameters", {}).items() if k in INGREDIENTS}
    versions = manifest.get("versions", {})
    return assemble(arrays, None, stars, versions, float), manifest


class ExactSPS:
    """Spectra and photometry of the 18-parameter model.

    Parameters
    ----------
    tables : path-like, dict of ndarray or Ingredients
        What `export_tables` wrote, or the arrays themselves; or ingredients of
        `prospect_emu.sps` or their file, which are rounded to 1e-4.
    dtype : torch.dtype
        Of spectra and photometry; ages and weights are always float64.
    device : torch.device or str
    fixed : dict, optional
        Values in place of `prospect_emu.networks.vector.FIXED`; only ``gas_logu`` and
        ``dust_tesc`` may differ.

    Attributes
    ----------
    wavelengths : Tensor, shape (nwave,)
        Rest frame, Angstrom.

    Raises
    ------
    ModelFileError
        If the tables are missing, damaged or of another kind.
    SetupError
        If `fixed` asks for physics that is not here.
    """

    def __init__(self, tables, dtype=torch.float64, device="cpu", fixed=None):
        fixed = {**FIXED, **(fixed or {})}
        other = [k for k, v in fixed.items() if FIXED.get(k) != v]
        if bad := [k for k in other if k not in _FREE]:
            raise SetupError(f"ExactSPS cannot change {', '.join(bad)}; leave them as FIXED.")
        self.fixed = fixed
        g, self.manifest = read(tables)
        self.dtype, self.device = dtype, torch.device(device)
        self._chunk = _CHUNK.get(self.device.type, _BLOCK)
        self._wave, self.nneb = np.asarray(g.wave, dtype=float), g.nneb
        self.wavelengths = torch.tensor(self._wave, device=device)
        self.cosmology = parts.Cosmology(device)
        self._log_age = parts.double(g.log_age, device)
        nyoung = ages.young(g.log_age, fixed["dust_tesc"])
        self.stars = parts.Stars(g, nyoung, dtype, device)
        self.nebular = parts.Nebular(g, fixed["gas_logu"], nyoung, dtype, device)
        self.attenuation = parts.Attenuation(self._wave, dtype, device)
        self._igm = tuple(parts.double(a, device) for a in igm.terms(self._wave))
        nu = frequency_weights(self._wave) * LNU_UNIT
        self._dnu = torch.tensor(nu, dtype=dtype, device=device)
        # gamma mixes the two halves of each template: a third axis from 0 to 1.
        axes = (g.dust_qpah, g.dust_umin, np.array([0.0, 1.0]))
        # Only the templates' shapes matter; this brings them near one.
        dust = np.zeros((*g.dust_lnu.shape[:-1], self._wave.size))
        dust[..., g.dust_start :] = g.dust_lnu / (g.dust_lnu @ nu[g.dust_start :]).max()
        self.dust = parts.Templates(axes, dust, dtype, device)
        self.torus = parts.Templates((g.agn_tau,), g.agn_lnu, dtype, device)

    def spectrum(self, theta):
        """Rest-frame L_nu of all stars, gas, dust and AGN, IGM absorption included.

        Parameters
        ----------
        theta : array_like, shape (n, 18)
            In the order of `PARAMETERS`.

        Returns
        -------
        Tensor, shape (n, nwave)
            Lsun/Hz, of ``10**logmass`` Msun formed.
        """
        p, back = self._sorted(self._parameters(theta))
        lnu = torch.cat([lnu for b in _blocks(p) for _, lnu in self._spectra(b)])
        return lnu[back] * (p.mass.sum(-1) * LNU_UNIT).to(self.dtype)[back, None]

    def mfrac(self, theta):
        """Surviving mass over mass formed, shape (n,), float64."""
        p = self._parameters(theta)
        mass = self.stars.surviving_mass(*self.stars.cell(p.logzsol))
        return (self._weights(p) * mass).sum(-1)

    def projector(self, filters, quadrature="converged"):
        """Filters prepared for `photometry`."""
        filters = getattr(filters, "filters", filters)
        return BandProjector(filters, self._wave, quadrature, self.dtype, self.device)

    def photometry(self, theta, filters, quadrature="converged"):
        """Apparent maggies of ``10**logmass`` Msun formed.

        Fastest when all rows have the same redshift.

        Parameters
        ----------
        theta : array_like, shape (n, 18)
        filters : sequence of sedpy.observate.Filter, or what `projector` returns
        quadrature : {"converged", "sedpy"}
            As in `prospect_emu.observe.photometry`; ignored if `filters` is a projector.

        Returns
        -------
        Tensor, shape (n, nband)
        """
        bands = filters
        if not isinstance(bands, BandProjector):
            bands = self.projector(filters, quadrature)
        p, back = self._sorted(self._parameters(theta))
        each = (pair for b in _blocks(p) for pair in self._spectra(b))
        flux = [bands(lnu[:, None], z)[:, 0] for z, lnu in each]
        unit = self.cosmology.flux_factor(p.zred) * p.mass.sum(-1) * LNU_UNIT
        return (torch.cat(flux) * unit.to(self.dtype)[:, None])[back]

    def masses(self, theta):
        """Msun formed per bin, youngest first, shape (n, 7), float64."""
        return self._parameters(theta).mass

    def _parameters(self, theta):
        """Columns of theta by name, and what follows from them at once; all float64."""
        theta = torch.as_tensor(theta, dtype=torch.float64, device=self.device)
        if theta.ndim != 2 or theta.shape[1] != len(PARAMETERS) or not len(theta):
            raise ProspectEmuError(
                f"theta has shape {tuple(theta.shape)}; "
                f"ExactSPS needs (n, {len(PARAMETERS)}) with n > 0."
            )
        columns = theta.T.contiguous().unbind(0)
        p = SimpleNamespace(**dict(zip(PARAMETERS, columns, strict=True)))
        p.edges = 10.0 ** sfh.edges_of_age(self.cosmology.age(p.zred))
        p.mass = sfh.masses_in(torch.diff(p.edges), p.logmass, theta[:, _RATIOS])
        p.share = p.mass / p.mass.sum(-1, keepdim=True)
        return p

    def _weights(self, p):
        """Weights of populations in the whole history per Msun formed, shape (n, nage)."""
        if not p.edges.requires_grad and bool((p.edges == p.edges[0]).all()):
            return p.share @ parts.bin_weights(self._log_age, p.edges[0])
        chunks = zip(p.share.split(self._chunk), p.edges.split(self._chunk), strict=True)
        each = ((s[:, None] @ parts.bin_weights(self._log_age, e))[:, 0] for s, e in chunks)
        return torch.cat(list(each))

    def _spectra(self, p):
        """Redshifts and L_nu (n, nwave) in `LNU_UNIT`, per Msun formed, of a few rows at a time.

        Rows of `p` must be sorted by metallicity cell.
        """
        weights, (cell, frac) = self._weights(p), self.stars.cell(p.logzsol)
        runs = parts.sort_by_cell(cell, self.stars.logz.numel() - 1)[1]
        young, old = self.stars.light(weights, frac, runs)
        photons = between(self.stars.photons, cell, frac) * weights[:, : self.nneb]
        self.nebular.add_to(young, old, photons, p.gas_logz)
        lbol = (weights * self.stars.luminosity(cell, frac)).sum(-1)
        agn = (lbol * 10.0**p.log_fagn).to(self.dtype)[:, None]
        for rows in _slices(len(p.zred), self._chunk):
            c = _rows(p, rows)
            dust = (a.to(self.dtype)[:, None] for a in (c.dust1_fraction, c.dust2, c.dust_index))
            light = young[rows], old[rows]
            total, absorbed, through = self.attenuation(*dust, *light, self._dnu)
            passed = igm.transmission(self._igm, c.zred).to(self.dtype)
            total[:, : passed.shape[1]] *= passed
            # FSPS lets the dust absorb its own light and emit it again until nothing is
            # left; the sum of that series is the attenuated template, normalised.
            span = slice(self.dust.first, self.dust.stop)
            warm = self.dust(c.duste_qpah, c.duste_umin, 10.0**c.log_duste_gamma)
            warm = warm * through[:, span]
            total[:, span] += warm * (absorbed / (warm @ self._dnu[span]))[:, None]
            span = slice(self.torus.first, self.torus.stop)
            total[:, span] += agn[rows] * self.torus(10.0**c.log_agn_tau) * through[:, span]
            yield c.zred, total

    def _sorted(self, p):
        """Rows sorted by metallicity cell, and the order that undoes it."""
        order = torch.argsort(self.stars.cell(p.logzsol)[0])
        return _rows(p, order), torch.argsort(order)


def _rows(p, index):
    return SimpleNamespace(**{k: v[index] for k, v in vars(p).items()})


def _slices(n, size):
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def _blocks(p):
    for rows in _slices(len(p.zred), _BLOCK):
        yield _rows(p, rows)
