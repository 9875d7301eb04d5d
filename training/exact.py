"""Exact batched stellar population synthesis: FSPS for the 18-parameter model, in torch.

What FSPS does for this model once its simple stellar populations exist is
linear algebra and interpolation. `ExactSPS` does it for whole batches, in
float64 or float32, on CPU or GPU, and differentiably. "Exact" means: no
emulation; differences from FSPS are those of arithmetic.
"""

from types import SimpleNamespace

import numpy as np
import torch

from prospect_emu.cosmology import MAGGIE
from prospect_emu.errors import ProspectEmuError
from prospect_emu.networks.vector import FIXED, PARAMETERS
from prospect_emu.sps.constants import LNU_UNIT
from prospect_emu.sps.nebular import frequency_weights

from .exact_dust import Attenuation, Intergalactic, Templates
from .exact_lines import LineProjector, Lines
from .exact_photometry import BandProjector
from .exact_sfh import AgeWeights, Cosmology, bin_edges, bin_masses
from .exact_stars import Nebular, Stars, sort_by_cell
from .exact_tables import load_tables

# Rows that one matrix product takes, and rows that on a CPU stay in cache
# through the element-wise stages.
_BLOCK, _CHUNK = 2048, {"cpu": 128}
_HERTZ = 1.0 / LNU_UNIT
# Jy in erg/s/cm2/Hz, for lines: 3631 Jy is one maggie.
_FREE = ("gas_logu", "dust_tesc", "nebemlineinspec")


class ExactSPS:
    """Spectra and photometry of the 18-parameter model.

    Parameters
    ----------
    tables : path-like or dict of ndarray
        What `export_tables` wrote, or the arrays themselves.
    dtype : torch.dtype
        Of spectra and photometry; ages and weights are always float64.
    device : torch.device or str
    fixed : dict, optional
        Values in place of `prospect_emu.networks.vector.FIXED`; only ``gas_logu``,
        ``dust_tesc`` and ``nebemlineinspec`` may differ. With the last False, lines
        are not in the spectrum but added band by band, as Prospector does.

    Attributes
    ----------
    wavelengths : Tensor, shape (nwave,)
        Rest frame, Angstrom.
    line_wavelengths : Tensor, shape (nline,)
        Those of `line_luminosities`, likewise.

    Raises
    ------
    ModelFileError
        If the tables are missing, damaged or of another kind.
    ProspectEmuError
        If `fixed` asks for physics that is not here.
    """

    def __init__(self, tables, dtype=torch.float64, device="cpu", fixed=None):
        if not isinstance(tables, dict):
            tables, self.manifest = load_tables(tables)
        else:
            self.manifest = {}
        fixed = {**FIXED, **(fixed or {})}
        other = [k for k, v in fixed.items() if FIXED.get(k) != v]
        if bad := [k for k in other if k not in _FREE]:
            raise ProspectEmuError(f"ExactSPS cannot change {', '.join(bad)}; leave them as FIXED.")
        self.dtype, self.device = dtype, torch.device(device)
        self._chunk = _CHUNK.get(self.device.type, _BLOCK)
        self._wave = np.asarray(tables["wave"], dtype=float)
        self.wavelengths = torch.tensor(self._wave, device=device)
        self.cosmology = Cosmology(device)
        self.age_weights = AgeWeights(tables["log_age"], device)
        self.stars = Stars(tables, fixed["dust_tesc"], dtype, device)
        nebular = (tables, fixed["gas_logu"], self.stars.nneb, self.stars.nyoung)
        self.lines_in_spectrum = bool(fixed["nebemlineinspec"])
        self.nebular = Nebular(*nebular, self.lines_in_spectrum, dtype, device)
        self.lines = Lines(*nebular, device)
        self.line_wavelengths = self.lines.wavelengths
        self.attenuation = Attenuation(self._wave, dtype, device)
        self.igm = Intergalactic(self._wave, dtype, device)
        nu = frequency_weights(self._wave) / _HERTZ
        self._dnu = torch.tensor(nu, dtype=dtype, device=device)
        # gamma mixes the two halves of each template: a third axis from 0 to 1.
        axes = (tables["dust_qpah"], tables["dust_umin"], np.array([0.0, 1.0]))
        # Only the templates' shapes matter; this brings them near one.
        dust = tables["dust_lnu"] / (tables["dust_lnu"] @ nu).max()
        self.dust = Templates(axes, dust, dtype, device)
        self.torus = Templates((tables["agn_tau"],), tables["agn_lnu"] * _HERTZ, dtype, device)

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
        lnu = torch.cat([lnu for b in _blocks(p) for _, lnu, _ in self._spectra(b)])
        return lnu[back] * (p.mass.sum(-1) * LNU_UNIT).to(self.dtype)[back, None]

    def line_luminosities(self, theta):
        """Luminosities of the nebular lines behind the dust, in Lsun, shape (n, nline), float64.

        Of ``10**logmass`` Msun formed; FSPS's ``emline_luminosity``.
        """
        p, back = self._sorted(self._parameters(theta))
        lines = torch.cat([line for b in _blocks(p) for _, _, line in self._spectra(b, True)])
        return (lines * p.mass.sum(-1)[:, None])[back]

    def mfrac(self, theta):
        """Surviving mass over mass formed, shape (n,), float64."""
        p = self._parameters(theta)
        mass = self.stars.surviving_mass(*self.stars.cell(p.logzsol))
        return (self._weights(p) * mass).sum(-1)

    def projector(self, filters, quadrature="converged"):
        """Filters prepared for `photometry` and `factors`.

        Parameters
        ----------
        filters : sequence of sedpy.observate.Filter, or FilterProjector
        quadrature : {"converged", "sedpy"}
        """
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
            As in `prospect_emu.training.photometry`; ignored if `filters` is a projector.

        Returns
        -------
        Tensor, shape (n, nband)
        """
        bands = self._bands(filters, quadrature)
        p, back = self._sorted(self._parameters(theta))
        unit = self.cosmology.flux_factor(p.zred) * p.mass.sum(-1) * LNU_UNIT
        flux = [
            self._in_bands(bands, lnu[:, None], lines if lines is None else lines[:, None], z)[:, 0]
            for b in _blocks(p)
            for z, lnu, lines in self._spectra(b, not self.lines_in_spectrum)
        ]
        return (torch.cat(flux) * unit.to(self.dtype)[:, None])[back]

    def factors(self, theta, filters, quadrature="converged"):
        """The parts in which the photometry is linear.

        With m the masses formed per bin (`masses`) and fagn = 10**log_fagn::

            maggies[b] = sum_k m[k] (S[k, b] + L[k] D[b] + fagn B[k] A[b])
            mfrac      = sum_k m[k] R[k] / sum_k m[k]

        Parameters
        ----------
        theta : array_like, shape (n, 18)
            logmass, logsfr_ratios and log_fagn do not matter.
        filters, quadrature
            As for `photometry`.

        Returns
        -------
        dict of Tensor
            ``S`` (n, 7, nband): maggies of attenuated stars and gas per Msun formed in a bin;
            ``L`` (n, 7): Lsun absorbed per Msun formed; ``D`` (n, nband): maggies of
            dust emission per Lsun absorbed; ``B`` (n, 7): bolometric Lsun per Msun
            formed; ``A`` (n, nband): maggies of the AGN per Lsun; ``R`` (n, 7):
            surviving mass per Msun formed.
        """
        bands = self._bands(filters, quadrature)
        p, back = self._sorted(self._parameters(theta))
        parts = [self._factors(b, bands) for b in _blocks(p, _BLOCK // 8)]
        return {k: torch.cat([part[k] for part in parts])[back] for k in parts[0]}

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
        p = SimpleNamespace(**dict(zip(PARAMETERS, theta.unbind(1), strict=True)))
        first = PARAMETERS.index("logsfr_ratios_1")
        p.edges = bin_edges(self.cosmology.age(p.zred))
        p.mass = bin_masses(p.logmass, theta[:, first : first + 6], p.edges)
        p.share = p.mass / p.mass.sum(-1, keepdim=True)
        return p

    def _bands(self, filters, quadrature):
        return (
            filters if isinstance(filters, BandProjector) else self.projector(filters, quadrature)
        )

    def _weights(self, p):
        """Weights of populations in the whole history per Msun formed, shape (n, nage)."""
        if not p.edges.requires_grad and bool((p.edges == p.edges[0]).all()):
            return p.share @ self.age_weights(p.edges[0])
        chunks = zip(p.share.split(self._chunk), p.edges.split(self._chunk), strict=True)
        return torch.cat([(s[:, None] @ self.age_weights(e))[:, 0] for s, e in chunks])

    def _in_bands(self, bands, lnu, lines, zred):
        """Maggies of spectra (n, k, nwave) and of lines, per `flux_factor` and `LNU_UNIT`."""
        flux = bands(lnu, zred)
        if lines is None:
            return flux
        per_line = LineProjector(bands.filters, self.device)
        added = per_line(lines, self.line_wavelengths, zred)
        added = added * (MAGGIE / LNU_UNIT / (1.0 + zred))[:, None, None]
        return torch.cat([flux[:, : added.shape[1]] + added, flux[:, added.shape[1] :]], dim=1)

    def _stellar(self, p, weights):
        """L_nu of young and old stars with their nebulae, each (n, nbin, nwave); photons.

        `weights` are (n, nbin, nage). Rows of `p` must be sorted by metallicity cell.
        """
        cell, frac = self.stars.cell(p.logzsol)
        runs = sort_by_cell(cell, self.stars.logz.numel() - 1)[1]
        young, old = self.stars.light(weights, frac, runs)
        photons = self.stars.between(self.stars.photons, cell, frac)
        photons = weights[..., : self.stars.nneb] * photons[:, None]
        self.nebular.add_to(young, old, photons, p.gas_logz)
        return young, old, photons

    def _spectra(self, p, lines=False):
        """Redshifts, L_nu (n, nwave) in `LNU_UNIT` and lines (n, nline) in Lsun, per Msun formed.

        A few rows at a time; lines are None unless asked for.

        Rows of `p` must be sorted by metallicity cell.
        """
        weights = self._weights(p)
        young, old, photons = self._stellar(p, weights[:, None])
        lbol = (weights * self.stars.luminosity(*self.stars.cell(p.logzsol))).sum(-1)
        agn = (lbol * 10.0**p.log_fagn).to(self.dtype)[:, None]
        for rows in _slices(len(p.zred), self._chunk):
            c = _rows(p, rows)
            stars, absorbed, through = self._attenuate(c, young[rows], old[rows])
            emitted = None
            if lines or not self.lines_in_spectrum:
                emitted, lost = self._line_light(c, photons[rows], through)
                emitted, absorbed = emitted[:, 0], absorbed + lost
            total = stars[:, 0]
            total[:, self.igm.span] *= self.igm(c.zred)
            total[:, self.dust.span] += absorbed * self._dust_emission(c, through)
            total[:, self.torus.span] += agn[rows] * self._agn(c, through)
            yield c.zred, total, emitted

    def _factors(self, p, bands):
        weights = self.age_weights(p.edges)
        cell = self.stars.cell(p.logzsol)
        young, old, photons = self._stellar(p, weights)
        stars, absorbed, through = self._attenuate(p, young, old)
        lines = None
        if not self.lines_in_spectrum:
            lines, lost = self._line_light(p, photons, through)
            absorbed = absorbed + lost
        stars[..., self.igm.span] *= self.igm(p.zred)[:, None]
        rest = stars.new_zeros(len(stars), 2, stars.shape[-1])
        rest[:, 0, self.dust.span] = self._dust_emission(p, through)
        rest[:, 1, self.torus.span] = self._agn(p, through)
        flux = self._in_bands(bands, torch.cat([stars, rest], dim=1), lines, p.zred)
        flux = flux * (self.cosmology.flux_factor(p.zred) * LNU_UNIT).to(self.dtype)[:, None, None]
        return {
            "S": flux[:, :-2],
            "L": absorbed,
            "D": flux[:, -2],
            "B": (weights @ self.stars.luminosity(*cell)[..., None])[..., 0].to(self.dtype),
            "A": flux[:, -1],
            "R": (weights @ self.stars.surviving_mass(*cell)[..., None])[..., 0].to(self.dtype),
        }

    def _sorted(self, p):
        """Rows sorted by metallicity cell, and the order that undoes it."""
        order = torch.argsort(self.stars.cell(p.logzsol)[0])
        return _rows(p, order), torch.argsort(order)

    def _attenuate(self, p, young, old):
        """Attenuated light, Lsun absorbed, and what the diffuse dust transmits."""
        column = (a.to(self.dtype)[:, None] for a in (p.dust1_fraction, p.dust2, p.dust_index))
        return self.attenuation(*column, young, old, self._dnu)

    def _line_light(self, p, photons, through):
        """Lines (n, nbin, nline) in Lsun, and the luminosity absorbed from them, (n, nbin).

        The latter is zero where the lines are in the spectrum, which counts them already.
        """
        dust1 = p.dust1_fraction * p.dust2
        emitted, lost = self.lines(photons, p.gas_logz, dust1, through)
        if self.lines_in_spectrum:
            return emitted, 0.0
        return emitted, lost.sum(-1).to(self.dtype)

    def _dust_emission(self, p, through):
        """Dust emission on ``wave[dust.span]`` of one absorbed Lsun, (n, nspan).

        FSPS lets the dust absorb its own light and emit it again until nothing is
        left; the sum of that series is the attenuated template, normalised.
        """
        light = self.dust(p.duste_qpah, p.duste_umin, 10.0**p.log_duste_gamma)
        light = light * through[:, self.dust.span]
        return light / (light @ self._dnu[self.dust.span])[:, None]

    def _agn(self, p, through):
        """AGN light on ``wave[torus.span]`` of one Lsun behind the diffuse dust, (n, nspan)."""
        return self.torus(10.0**p.log_agn_tau) * through[:, self.torus.span]


def _rows(p, index):
    return SimpleNamespace(**{k: v[index] for k, v in vars(p).items()})


def _slices(n, size):
    return [slice(i, min(i + size, n)) for i in range(0, n, size)]


def _blocks(p, size=_BLOCK):
    for rows in _slices(len(p.zred), size):
        yield _rows(p, rows)
