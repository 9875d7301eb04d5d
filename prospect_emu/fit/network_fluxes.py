"""Photometry of a Prospector model by an emulator of the 18-parameter model."""

from dataclasses import replace

import numpy as np

from ..errors import ModelMismatchError
from ..networks import sfh
from ..networks.emulator_base import REFERENCE_LOGMASS, reference_scale
from ..networks.vector import RATIO_NAMES, derived_quantities
from ..observe import observation
from ..observe.magnitudes import arsinh_error_to_maggies
from ..prospector.batched_priors import prior_draws
from .likelihood import Emulated, Gaussian, Independent, VectorErrors

# Free parameters of a Prospector model -> parameters of the emulator.
VECTORS = {"massmet": ("logmass", "logzsol"), "logsfr_ratios": RATIO_NAMES}
_LOGARITHMS = {"fagn": "log_fagn", "agn_tau": "log_agn_tau", "duste_gamma": "log_duste_gamma"}
SLOW_ROAD = "use prospect.fitting.fit_model for it"
_MAP_TOLERANCE = 1e-10


def by_vector(obs, emulator):
    """Whether the emulator's error in a fit of `obs` follows redshift and dust2."""
    return (
        emulator.errors is not None
        and obs.get("emulator") == emulator.name
        and obs.get("maggies_covariance") is None
    )


class NetworkFluxes:
    """An emulator of the 18-parameter model, for a model with these parameters.

    Attributes
    ----------
    emulator : Emulator
        Restricted to the bands.
    lumdist : float or None
        Luminosity distance in Mpc that the model prescribes, or None for the cosmology's.
    """

    quick = True

    def __init__(self, model, obs, sps, bands, priors, nuisance=()):
        sps.check_model(model)
        names = [f.name for f in observation.filter_list(obs["filters"])]
        self.emulator = sps.emulator.select(n for n, b in zip(names, bands, strict=True) if b)
        # The emulator may offer fluxes before the scaling by mass and distance,
        # which then needs no cosmology where the redshift is fixed.
        self._reference = getattr(self.emulator, "reference_maggies", None)
        self._compile_map(model, nuisance)
        draws = prior_draws(priors, np.random.default_rng(0).random((32, model.ndim)))
        expected = self._model_theta(model, sps, draws)
        self._template = expected[0]
        self._verify_map(draws, expected)
        self._compile_scale(model)
        if self._fixed_scale is not None and hasattr(self.emulator, "at_redshift"):
            zred = float(self._template[self._zred])
            self._reference = self.emulator.at_redshift(zred).reference_maggies

    def vectors(self, theta):
        """The emulator's vectors (n, 18) of the model's free ones (n, ndim)."""
        out = np.empty((len(theta), self._template.size))
        out[:] = self._template
        out[:, self._target] = theta[:, self._source]
        if self._log_target.size:
            out[:, self._log_target] = np.log10(theta[:, self._log_source])
        return out

    def maggies(self, theta):
        """Fluxes (n, nband)."""
        full = self.vectors(np.asarray(theta, dtype=float))
        if self._reference is None:
            maggies = self.emulator.maggies(full, check=False)
            scale = 1.0 if self.lumdist is None else self._distance_ratio(full)[:, None]
            return maggies * scale
        if self._fixed_scale is None:
            scale = reference_scale(full[:, 0], full[:, self._zred])
            if self.lumdist is not None:
                scale = scale * self._distance_ratio(full)
        else:
            scale = self._fixed_scale * 10.0 ** (full[:, 0] - REFERENCE_LOGMASS)
        maggies = self._reference(full)
        maggies *= scale[:, None]
        return maggies

    def with_errors(self, likelihood, obs, mask):
        """A likelihood with the emulator's error where each vector is.

        Parameters
        ----------
        likelihood : Gaussian or Independent
            Others, and those with a noise model, keep the typical error.
        obs : dict
            What `NetworkSPS.inflate` gave; of another `obs` nothing changes.
        mask : ndarray of bool, shape (nfilter,)
        """
        plain = type(likelihood) is Gaussian
        if not plain and (type(likelihood) is not Independent or likelihood.noise):
            return likelihood
        if not by_vector(obs, self.emulator):
            return likelihood
        observed = np.asarray(obs["maggies_unc_observed"], dtype=float)[mask]
        flux, unc, table = likelihood.flux, likelihood.unc, self.emulator.errors
        dust2 = self.emulator.index("dust2")
        if self._zred not in self._target:
            table = table.at_redshift(self._template[self._zred])
        slope = arsinh_error_to_maggies(1.0, flux)
        variance = observed**2 + slope**2 * table.variance
        places = [np.flatnonzero(self._target == i) for i in (self._zred, dust2)]
        columns = [self._source[p[0]] if p.size else None for p in places]
        fixed = [self._template[i] for i in (self._zred, dust2)]

        def weights(theta):
            theta = np.asarray(theta, dtype=float)
            at = (
                np.full(len(theta), value) if column is None else theta[:, column]
                for column, value in zip(columns, fixed, strict=True)
            )
            return table.weights(*at)

        if plain:
            errors = VectorErrors(weights, variance / observed**2, table)
            return Emulated(flux, unc, observed, errors)
        return replace(likelihood, errors=VectorErrors(weights, variance / unc**2, table))

    def quantities(self, theta):
        """Surviving mass fraction (n,) and `derived_quantities` by name."""
        vectors = self.vectors(np.asarray(theta, dtype=float))
        mfrac = self.emulator.mfrac(vectors, check=False)
        return mfrac, derived_quantities(vectors, mfrac)

    @property
    def parameter_map(self):
        """How the emulator's vector comes from the model's free parameters.

        Returns
        -------
        template : ndarray, shape (18,)
            Values of what is fixed.
        copied, logarithms : (ndarray of int, ndarray of int)
            Places in the emulator's vector, and the columns of `theta` that they copy or
            take the decimal logarithm of.
        """
        copied, logarithms = (
            (self._target, self._source),
            (self._log_target, self._log_source),
        )
        return self._template.copy(), copied, logarithms

    def _compile_map(self, model, nuisance):
        """Where each free column goes among the emulator's parameters."""
        known = self.emulator.parameters
        copies, logs = {}, {}
        for name, span in model.theta_index.items():
            if name in nuisance:
                continue
            columns = range(span.start, span.stop)
            into = copies
            if name in VECTORS and len(columns) == len(VECTORS[name]):
                targets = VECTORS[name]
            elif name in known and len(columns) == 1:
                targets = (name,)
            elif name in _LOGARITHMS and len(columns) == 1:
                targets, into = (_LOGARITHMS[name],), logs
            else:
                raise ModelMismatchError(
                    f"Free parameter {name!r} ({len(columns)} values) is not known to emulator "
                    f"{self.emulator.name!r} ({', '.join(VECTORS)}, {', '.join(known)}); "
                    f"fix it, use EmulatorSPS() without an emulator, or {SLOW_ROAD}."
                )
            into |= {known.index(t): c for t, c in zip(targets, columns, strict=True)}
        self._target, self._source = _index(copies.keys()), _index(copies.values())
        self._log_target, self._log_source = _index(logs.keys()), _index(logs.values())
        self._zred = known.index("zred")

    def _compile_scale(self, model):
        """Distances once and for all if the redshift is fixed."""
        lumdist = model.params.get("lumdist")
        self.lumdist = None if lumdist is None else float(np.squeeze(lumdist))
        self._fixed_scale = None
        if self._zred not in self._target:
            zred = self._template[self._zred]
            self._fixed_scale = float(reference_scale(REFERENCE_LOGMASS, zred))
            if self.lumdist is not None:
                self._fixed_scale *= sfh.dimming(zred, self.lumdist)

    def _distance_ratio(self, full):
        return sfh.dimming(full[:, self._zred], self.lumdist)

    @staticmethod
    def _model_theta(model, sps, draws):
        """The emulator's vectors by way of Prospector's own parameters."""
        before = model.theta.copy()
        try:
            out = []
            for theta in draws:
                model.set_parameters(theta)
                out.append(sps.theta_from_params(model.params))
            return np.array(out)
        finally:
            model.set_parameters(before)

    def _verify_map(self, draws, expected):
        wrong = ~np.isclose(
            self.vectors(draws), expected, rtol=_MAP_TOLERANCE, atol=_MAP_TOLERANCE
        ).all(axis=0)
        if wrong.any():
            names = ", ".join(np.array(self.emulator.parameters)[wrong])
            raise ModelMismatchError(
                f"The model derives {names} in another way than "
                "prospect_emu.prospector.mathews23.model_params "
                f"(a transform in depends_on differs); use EmulatorSPS() without an emulator, or "
                f"{SLOW_ROAD}."
            )


def _index(values):
    return np.fromiter(values, dtype=int)
