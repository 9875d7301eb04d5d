"""The factored emulator: FSPS's own ingredients, compressed, and combined exactly.

For this model the spectrum is linear in nearly everything: in the masses of the
age bins, in the populations on both sides of a metallicity, in the nebular,
dust and AGN templates around a point of their grids (Mathews et al. 2023 learn
all of it with one network). What is not linear is known in closed form. So
nothing needs to be learnt: `FactoredEmulator` carries the ingredients, rounded to
a few parts in 10,000 per wavelength, and combines them.

At one redshift all of this is a small matrix product: see `prospect_emu.networks.folded`.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from ..cosmology import flux_factor
from ..errors import ModelFileError
from ..observe.filters import load_filters
from ..observe.photometry import FilterProjector
from ..sps import igm
from ..sps.ages import step_weights
from ..sps.constants import LNU_UNIT, REFERENCE, between, find_cell, interpolate, locate
from ..sps.dust_laws import bump, calzetti
from ..sps.nebular import frequency_weights, ionising, line_profiles
from ..sps.nodes import skeleton
from ..sps.packing import unpack_uniform
from ..workers import single_thread
from . import sfh
from .emulator_base import EmulatorBase, reference_scale
from .folded import (
    COLUMN,
    RATIOS,
    TOLERANCE,
    FoldedEmulator,
    coordinates,
    dust_family,
    exponents,
)  # fmt: skip

KIND = "prospect_emu factored emulator"
_SCHEMA = 1
# Chebyshev-Lobatto nodes across a cell of log gas metallicity, in which the light per
# photon is an exponential: five reproduce it to 3e-5 (tested).
_CELL_NODES = 5
_LOBATTO = -np.cos(np.pi * np.arange(_CELL_NODES) / (_CELL_NODES - 1))
_LAGRANGE = np.linalg.inv(np.vander(_LOBATTO, increasing=True))
# Rows of one redshift from which on folding is cheaper than spectra.
_FOLD_FROM = 200
_CHUNK = 64


def unpack(codes, top):
    """Inverse of `pack_uniform`, in single precision."""
    return np.power(np.float32(10.0), unpack_uniform(codes, top))


@dataclass(frozen=True, repr=False)
class FactoredEmulator(EmulatorBase):
    """FSPS photometry of the 18-parameter model without a network.

    The interface of `prospect_emu.networks.emulator.Emulator`. `ingredients` are the
    arrays of the file: wavelengths, populations, nebular, dust and AGN templates.
    """

    ingredients: dict

    def __repr__(self):
        return f"FactoredEmulator({self.name!r}, {len(self.filters)} bands)"

    # ---- what a user asks for ----------------------------------------------

    def reference_maggies(self, theta):
        """Fluxes at the reference mass and distance, (n, nband) of `theta` (n, 18), unchecked.

        Where `_FOLD_FROM` rows or more share a redshift they cost microseconds each
        (`at_redshift`), others some milliseconds (`direct_maggies`).
        """
        theta = np.asarray(theta, dtype=float)
        out = np.empty((len(theta), len(self.filters)))
        values, which, count = np.unique(
            theta[:, COLUMN["zred"]], return_inverse=True, return_counts=True
        )
        for i in np.flatnonzero(count >= _FOLD_FROM):
            out[which == i] = self.at_redshift(values[i]).reference_maggies(theta[which == i])
        few = count[which] < _FOLD_FROM
        out[few] = self.direct_maggies(theta[few])
        return out

    def direct_maggies(self, theta):
        """`reference_maggies` from whole spectra, whatever the redshifts: slower, exact."""
        theta = np.asarray(theta, dtype=float)
        zred = theta[:, COLUMN["zred"]]
        out = np.empty((len(theta), len(self.filters)))
        # Rows of one redshift together: they share the bands' weights.
        order = np.argsort(zred, kind="stable")
        known = weights = None
        for i in range(0, order.size, _CHUNK):
            rows = order[i : i + _CHUNK]
            stars, torus = self._spectra(theta[rows])
            for j, row in enumerate(rows):
                if zred[row] != known:
                    known = zred[row]
                    weights = self.projector.weights(known)
                    igm = self.igm(known)
                node, weight, start = weights
                lnu = (stars[j] * igm + torus[j])[node]
                out[row] = np.add.reduceat(lnu * weight, start) * self.flux_unit(known)
        return out

    def at_redshift(self, zred):
        """The emulator at one redshift: microseconds per parameter vector."""
        # Its products are small: on a busy machine, several threads wait for each other.
        with single_thread():
            return FoldedEmulator(self, float(zred))

    def spectrum(self, theta, check=True):
        """Rest-frame spectra, IGM absorption included.

        Parameters
        ----------
        theta : array_like, shape (n, 18)

        Returns
        -------
        ndarray, shape (n, nwave)
            L_nu in Lsun/Hz at `wavelengths`, of ``10**logmass`` Msun formed.
        """
        theta = np.asarray(theta, dtype=float)
        if check:
            self.check(theta)
        stars, torus = self._spectra(theta)
        z, logmass = theta[:, COLUMN["zred"]], theta[:, COLUMN["logmass"]]
        stars *= np.array([self.igm(x) for x in z])
        return (stars + torus) * (LNU_UNIT * 10.0**logmass)[:, None]

    def _mfrac(self, theta):
        p = coordinates(theta)
        cell, f = find_cell(self.logz, p["logzsol"], extrapolate=True)
        mass = between(self.ingredients["ssp_mass"], cell, f)
        return np.einsum("nka,nk,na->n", self.age_weights(p["zred"]), self.shares(theta), mass)

    # ---- ingredients ---------------------------------------------------------

    @property
    def wavelengths(self):
        """Rest-frame wavelengths in Angstrom, shape (nwave,)."""
        return self.ingredients["wave"]

    @property
    def logz(self):
        """log10(Z / Zsun) of the populations."""
        return self.ingredients["logz"]

    @property
    def gas_logz(self):
        """Nodes of the nebular table, `_CELL_NODES` to a cell, ends shared."""
        nodes = self.ingredients["neb_logz"]
        x = 0.5 + 0.5 * _LOBATTO[:-1]
        return np.append((nodes[:-1, None] + np.diff(nodes)[:, None] * x).ravel(), nodes[-1])

    @cached_property
    def nyoung(self):
        """Populations behind the birth clouds."""
        return int(locate(self.ingredients["log_age"], self.fixed["dust_tesc"]))

    @cached_property
    def populations(self):
        """L_nu (nz, nage, nwave) in `LNU_UNIT`, ionising light taken out, float32."""
        lnu = unpack(self.ingredients["ssp_lnu"], self.ingredients["ssp_lnu_top"])
        lnu[:, : self.nneb, : ionising(self.wavelengths)] = 0.0
        return lnu

    @property
    def nneb(self):
        """Populations with nebulae."""
        return self.ingredients["photons"].shape[1]

    @cached_property
    def nebulae(self):
        """L_nu (ngas, nneb, nwave) in `LNU_UNIT` per `PHOTON_UNIT` at `gas_logz`, float32."""
        g, nodes = self.ingredients, self.ingredients["neb_logz"]
        age = np.clip(g["log_age"][: self.nneb], g["neb_log_age"][0], g["neb_log_age"][-1])
        profiles = line_profiles(self.wavelengths, g["resolution"], g["line_wave"])
        cont = unpack_uniform(g["neb_cont"], g["neb_cont_top"], zero=None)
        out = 0.0
        for log, shape in ((cont, None), (g["neb_logline"], profiles.astype(np.float32))):
            log = interpolate(nodes, np.moveaxis(log, 0, -1), self.gas_logz)
            log = interpolate(g["neb_log_age"], np.moveaxis(log, 0, -1), age)
            light = 10.0 ** np.moveaxis(log, -1, 0).transpose(2, 0, 1).astype(np.float32)
            out = out + (light if shape is None else light @ shape)
        return out

    def gas_weights(self, gas_logz):
        """Nodes (n, 5) of `gas_logz` and their weights: a polynomial in each cell."""
        axis = self.ingredients["neb_logz"]
        cell, frac = find_cell(axis, np.clip(gas_logz, axis[0], axis[-1]))
        powers = np.vander(2.0 * frac - 1.0, _CELL_NODES, increasing=True)
        return (_CELL_NODES - 1) * cell[:, None] + np.arange(_CELL_NODES), powers @ _LAGRANGE

    @cached_property
    def dust_templates(self):
        """Shapes of dust emission, (nqpah * numin * 2, nspan), on the last nspan wavelengths."""
        lnu = unpack(self.ingredients["dust_lnu"], self.ingredients["dust_lnu_top"])
        return lnu.reshape(-1, lnu.shape[-1])

    def dust_weights(self, qpah, umin, log_gamma):
        """Templates (n, 8) around a point of the dust grid and their weights."""
        axes = self.ingredients["dust_qpah"], self.ingredients["dust_umin"], np.array([0.0, 1.0])
        index, weight = np.zeros((len(qpah), 1), dtype=int), np.ones((len(qpah), 1))
        for axis, x in zip(axes, (qpah, umin, 10.0**log_gamma), strict=True):
            cell, f = find_cell(axis, np.clip(x, axis[0], axis[-1]))
            index = ((index * axis.size + cell[:, None])[..., None] + np.arange(2)).reshape(
                len(qpah), -1
            )
            weight = (weight[..., None] * np.stack([1.0 - f, f], -1)[:, None]).reshape(
                len(qpah), -1
            )
        return index, weight

    @cached_property
    def extinction(self):
        """Vectors (4, nwave) of the exponents of attenuation, see `exponents`."""
        wave = self.wavelengths
        return np.array([-calzetti(wave), -bump(wave), np.log(wave / REFERENCE), -REFERENCE / wave])

    @cached_property
    def _igm_terms(self):
        return igm.terms(self.wavelengths)

    def igm(self, zred):
        """Transmission of the intergalactic gas at a redshift, (nwave,)."""
        out = np.ones(self.wavelengths.size)
        blue = igm.transmission(self._igm_terms, zred)[0]
        out[: blue.size] = blue
        return out

    @cached_property
    def hertz(self):
        """Weights of an integral over frequency in units of 1 / `LNU_UNIT`, shape (nwave,)."""
        return frequency_weights(self.wavelengths) * LNU_UNIT

    @cached_property
    def dust_nodes(self):
        """Nodes (see `prospect_emu.networks.folded`) of the light that dust absorbs and emits.

        Returns
        -------
        lost, absorbed, emitted, norm
            Wavelengths and matrices for ``1 - transmission`` over all light, and for the
            transmission of the diffuse dust over its own emission.
        """
        family = dust_family()
        diffuse, cloud = exponents(self.extinction, family)
        solar = np.argmin(np.abs(self.logz))
        light = self.populations[solar] * self.hertz
        weight = (light / light.sum(axis=1, keepdims=True)).max(axis=0)
        dusty = family["dust2"] > 0.0
        lost, absorbed = skeleton(np.expm1(diffuse + cloud)[dusty], weight, TOLERANCE, worst=np.inf)
        first = self.wavelengths.size - self.dust_templates.shape[1]
        light = self.dust_templates * self.hertz[first:]
        weight = (light / light.sum(axis=1, keepdims=True)).max(axis=0)
        plain = family["dust1_fraction"] == 0.0
        emitted, norm = skeleton(np.exp(diffuse[plain][:, first:]), weight, TOLERANCE, worst=np.inf)
        return lost, absorbed, emitted + first, norm

    def shares(self, theta):
        """Share of each age bin in the mass formed, (n, 7)."""
        return sfh.bin_masses(np.zeros(len(theta)), theta[:, RATIOS], theta[:, COLUMN["zred"]])

    def age_weights(self, zred):
        """Share of each population in the stars of each age bin, (..., 7, nage) of `zred` (...)."""
        return step_weights(self.ingredients["log_age"], sfh.agebins(zred))

    # ---- spectra, row by row ---------------------------------------------------

    def _spectra(self, theta):
        """L_nu of stars, gas and dust, and of the AGN, (n, nwave) each; per Msun, no IGM."""
        p, g = coordinates(theta), self.ingredients
        weights = np.einsum("nka,nk->na", self.age_weights(p["zred"]), self.shares(theta))
        cell, f = find_cell(self.logz, p["logzsol"], extrapolate=True)
        young, old = np.empty((2, len(theta), self.wavelengths.size))
        for c in np.unique(cell):
            rows = cell == c
            both = np.stack([weights[rows] * (1.0 - f[rows, None]), weights[rows] * f[rows, None]])
            lnu = self.populations[c : c + 2].astype(float)
            n = self.nyoung
            young[rows] = np.einsum("zna,zaw->nw", both[..., :n], lnu[:, :n], optimize=True)
            old[rows] = np.einsum("zna,zaw->nw", both[..., n:], lnu[:, n:], optimize=True)
        photons = between(g["photons"], cell, f) * weights[:, : self.nneb]
        node, share = self.gas_weights(p["gas_logz"])
        for first in np.unique(node[:, 0]):
            rows = node[:, 0] == first
            light = self.nebulae[first : first + _CELL_NODES].astype(float)
            for target, ages in ((young, slice(0, self.nyoung)), (old, slice(self.nyoung, None))):
                target[rows] += np.einsum(
                    "ng,na,gaw->nw", share[rows], photons[rows, ages], light[:, ages],
                    optimize=True,
                )  # fmt: skip
        diffuse, cloud = exponents(self.extinction, p)
        through = np.exp(diffuse)
        behind = old + young * np.exp(cloud)
        lost = young * np.expm1(cloud) + behind * np.expm1(diffuse)
        index, weight = self.dust_weights(p["duste_qpah"], p["duste_umin"], p["log_duste_gamma"])
        span = slice(self.wavelengths.size - self.dust_templates.shape[1], None)
        dust = np.einsum("ni,niw->nw", weight, self.dust_templates[index]) * through[:, span]
        stars = behind * through
        absorbed = -(lost @ self.hertz)
        stars[:, span] += dust * (absorbed / (dust @ self.hertz[span]))[:, None]
        lbol = 10.0 ** between(g["ssp_loglbol"], cell, f)
        agn = (weights * lbol).sum(axis=1) * 10.0 ** p["log_fagn"]
        return stars, agn[:, None] * self.torus(p["log_agn_tau"]) * through

    def torus(self, log_agn_tau):
        """AGN spectra (n, nwave) of one Lsun in `LNU_UNIT`."""
        node, weight = self.torus_weights(log_agn_tau)
        return np.einsum("ni,niw->nw", weight, self.ingredients["agn_lnu"][node])

    def torus_weights(self, log_agn_tau):
        """Templates (n, 2) around an optical depth of the torus and their weights."""
        axis = self.ingredients["agn_tau"]
        cell, f = find_cell(axis, np.clip(10.0**log_agn_tau, axis[0], axis[-1]))
        return cell[:, None] + np.arange(2), np.stack([1.0 - f, f], axis=-1)

    @cached_property
    def projector(self):
        """`FilterProjector` of the emulated bands."""
        return FilterProjector(load_filters(self.filters), self.wavelengths)

    def flux_unit(self, zred):
        """From maggies of `FilterProjector`'s weights to the reference galaxy's."""
        return LNU_UNIT * flux_factor(zred) / reference_scale(0.0, zred)

    # ---- files ------------------------------------------------------------------

    KIND, SCHEMA = KIND, _SCHEMA

    def _tensors(self):
        return {f"ingredients/{k}": v for k, v in self.ingredients.items()}

    @classmethod
    def _from_tensors(cls, common, tensors, where):
        n = len("ingredients/")
        g = {k[n:]: v for k, v in tensors.items() if k.startswith("ingredients/")}
        emulator = cls(**common, ingredients=g)
        nwave, nz, nage = g["wave"].size, g["logz"].size, g["log_age"].size
        shapes = {
            "ssp_lnu": (nz, nage, nwave),
            "ssp_mass": (nz, nage),
            "ssp_loglbol": (nz, nage),
            "resolution": (nwave,),
            "agn_lnu": (g["agn_tau"].size, nwave),
            "neb_cont": (g["neb_logz"].size, g["neb_log_age"].size, nwave),
        }
        for name, shape in shapes.items():
            if g[name].shape != shape:
                raise ModelFileError(
                    f"{where}: {name} has shape {g[name].shape}, not {shape}; make it again."
                )
        return emulator

    def _outputs(self, columns):
        return {}

    def select(self, names):
        """As for any emulator; what was unpacked once is shared."""
        chosen = super().select(names)
        for name in ("populations", "nebulae", "dust_templates", "dust_nodes", "extinction"):
            if name in self.__dict__:
                chosen.__dict__[name] = self.__dict__[name]
        return chosen
