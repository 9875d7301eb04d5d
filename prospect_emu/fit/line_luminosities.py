"""Emission lines of a model: fluxes as data, luminosities and equivalent widths as results."""

import numpy as np

from ..cosmology import LIGHTSPEED, MAGGIE, flux_factor
from ..errors import ModelMismatchError
from ..observe.line_fluxes import line_fluxes
from ..observe.pixels import Samples
from ..prospector.stand_in import ExactBasis
from .likelihood import Independent
from .noise_terms import Scalar
from .predictions import ExactFluxes
from .quantiles import weighted_quantiles


class LineLuminosities(ExactFluxes):
    """Lines of a model compiled at rest, with the continuum under them.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
    pick : callable
        Names and wavelengths of all lines -> numbers (k,) of those that are wanted.
    sps : EmulatorSPS
    priors : list of CompiledPrior, optional
    """

    def __init__(self, model, pick, sps, priors=None):
        if not np.all(model.params.get("add_neb_emission", False)):
            raise ModelMismatchError(
                "The model has no emission lines; set add_neb_emission to True."
            )
        self._pick, self._redshift = pick, model.params.get("zred", 0.0)
        super().__init__(model, [], sps, priors, at_rest=True)

    def _targets(self, filters):
        g = self.ingredients
        self.fixed |= {"nebemlineinspec": False}
        index = np.asarray(self._pick(g.line_names or [""] * g.line_wave.size, g.line_wave))
        self._wave = g.line_wave[index]
        right = np.clip(np.searchsorted(g.wave, self._wave), 1, g.wave.size - 1)
        nodes = np.unique(np.concatenate([right - 1, right]))
        self._ends = np.searchsorted(nodes, right - 1), np.searchsorted(nodes, right)
        self._share = (self._wave - g.wave[right - 1]) / (g.wave[right] - g.wave[right - 1])
        targets = Samples([], g.wave, nodes, index)
        self._parts = targets.parts
        return targets

    def _lines_apart(self, model):
        return True

    def luminosities(self, theta):
        """Lsun (n, k), through the dust, of the whole mass."""
        return self._both(theta)[0]

    def equivalent_widths(self, theta):
        """Angstrom at rest (n, k), positive in emission."""
        return self.luminosities_and_widths(theta)[1]

    def luminosities_and_widths(self, theta):
        """`luminosities` and `equivalent_widths` of one evaluation."""
        light, continuum = self._both(theta)
        return light, light / (continuum * LIGHTSPEED / self._wave**2)

    def zred(self, theta):
        """Redshifts (n,)."""
        zred = self.map(np.asarray(theta, dtype=float)).get("zred", np.ravel(self._redshift))
        return np.broadcast_to(np.asarray(zred, dtype=float), len(theta))

    def _both(self, theta):
        """Luminosities in Lsun, and the continuum's in Lsun/Hz."""
        values = self.maggies(np.asarray(theta, dtype=float)) / flux_factor(0.0)
        nodes, lines = values[:, self._parts[1]], values[:, self._parts[2]]
        left, right = (nodes[:, end] for end in self._ends)
        return lines * LIGHTSPEED / self._wave, left + self._share * (right - left)


class LineLikelihood:
    """Log likelihood (n,) of line fluxes, for vectors (n, ndim); NaN where impossible.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
        Whose ``linespec_scaling``, if there is one, multiplies all fluxes.
    given : dict
        ``obs["lines"]``, see `prospect_emu.observe.line_fluxes.line_fluxes`.
    sps : EmulatorSPS
    priors : list of CompiledPrior, optional

    Attributes
    ----------
    data : LineFluxes
    """

    def __init__(self, model, given, sps, priors=None):
        if not isinstance(sps, ExactBasis) or sps.has_own_spectra:
            raise ModelMismatchError(
                f"Line fluxes are fitted with EmulatorSPS(), not {sps!r}; use it, or leave out "
                "obs['lines']."
            )
        self._given = given
        self._light = LineLuminosities(model, self._pick, sps, priors)
        self._distance = model.params.get("lumdist")
        if "lumdist" in model.theta_index or "depends_on" in model.config_dict.get("lumdist", {}):
            raise ModelMismatchError("lumdist varies, and with it how bright lines are; fix it.")
        span = model.theta_index.get("linespec_scaling")
        fixed = float(np.squeeze(model.params.get("linespec_scaling", 1.0)))
        self._scale = Scalar(None if span is None else span.start, fixed)
        d = self.data
        self._likelihood = Independent(d.flux, d.unc, d.upper)

    def _pick(self, names, wave):
        self.data = line_fluxes(self._given, names, wave)
        return self.data.line

    def fluxes(self, theta):
        """erg/s/cm^2, (n, k)."""
        zred = self._light.zred(theta)
        factor = flux_factor(zred, self._distance) / (1.0 + zred) * MAGGIE
        flux = self._light.luminosities(theta) * factor[:, None]
        return self._scale(theta) * flux @ self.data.blend.T

    def __call__(self, theta):
        return self._likelihood(self.fluxes(theta), theta)


def fitted_lines(model, given, sps, theta):
    """Fluxes of lines that were fitted, and percentiles of the model's at vectors (n, ndim).

    Returns
    -------
    dict of list
        ``name``, ``flux``, ``unc``, ``upper``; ``predicted``, the 16th, 50th and 84th percentile.
    """
    lines = LineLikelihood(model, given, sps)
    some = weighted_quantiles(lines.fluxes(theta), np.ones(len(theta)), (0.16, 0.5, 0.84))
    return {**lines.data.plain, "predicted": some.tolist()}
