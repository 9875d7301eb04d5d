"""What predicts the photometry of a Prospector model, for whole batches of its vectors.

Three classes of one interface: `NetworkFluxes` of an emulator of the 18-parameter model,
`ExactFluxes` of FSPS's physics compiled for the model, and `ModelFluxes`, which asks the
model itself, row by row. `predictions` chooses.
"""

import time
import warnings

import numpy as np

from ..cosmology import flux_factor
from ..errors import ModelMismatchError, NotCompiledError
from ..observe import observation
from ..parameters import DEFAULTS, INGREDIENTS
from ..prospector.basis_parameters import fsps_parameters, of_components, too_short
from ..prospector.batched_priors import compile_priors, prior_draws
from ..prospector.line_table import lines_apart, own_photometry
from ..prospector.parameter_map import ParameterMap
from ..prospector.stand_in import ExactBasis
from ..prospector.version import adapter
from ..sps.history import History
from ..sps.ingredients import find_ingredients
from ..sps.inputs import SETTINGS
from ..sps.other_libraries import warn_of_other_libraries
from ..sps.spectrum import spectrum, surviving
from .network_fluxes import SLOW_ROAD, VECTORS, NetworkFluxes

# Prospector's SpecModel sees a network's photometry through a pseudo-spectrum, exact
# to 1e-5 where rounding moves a node over a curve's steep edge, and the exact physics is
# compiled to 1e-4; anything that a model adds by itself is far larger.
_FLUX_TOLERANCE = {"rtol": 2e-3, "atol": 1e-14}
# Draws on which it shows, and how small it may be, where methods of the model are its own.
_OWN_DRAWS, _OWN_TOLERANCE = 64, {"rtol": 5e-4, "atol": 1e-14}
# Relative error of compiled fluxes, far below a photometric error, of which to tell.
_ERROR = 1e-3
_OF_DISTANCE = ("zred", "lumdist", "igm_factor")
# Draws of the prior that show in which range parameters vary; fewer where each costs.
_DRAWS, _FEW_DRAWS = 4096, 256


def predictions(model, obs, sps, bands=None, nuisance=(), priors=None):
    """The fastest prediction that gives what the model itself gives.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
    obs : dict, list of Observation, or Observed
    sps : EmulatorSPS
    bands : ndarray of bool, shape (nfilter,), optional
        Which of ``obs["filters"]``; default all.
    nuisance : collection of str
        Free parameters that only the likelihood reads.
    priors : list of CompiledPrior, optional
        Of `compile_priors`, which takes up to a second.

    Returns
    -------
    NetworkFluxes, ExactFluxes or ModelFluxes

    Raises
    ------
    ModelMismatchError
        If an emulator was not made for this model.
    """
    _check_distance(model)
    priors = compile_priors(model) if priors is None else priors
    obs, draws = adapter.observed(obs), prior_examples(model, priors)
    filters = observation.filter_list(obs.get("filters"))
    bands = np.ones(len(filters), dtype=bool) if bands is None else bands
    if isinstance(sps, ExactBasis):
        if sps.has_own_spectra:
            why = f"{type(sps).__name__} has spectra of its own"
            return ModelFluxes(model, obs, sps, bands, draws, why)
        try:
            fast = ExactFluxes(model, adapter.bands(model, obs, bands), sps, priors)
        except NotCompiledError as why:
            return ModelFluxes(model, obs, sps, bands, draws, str(why))
        tested, tolerance = draws, _FLUX_TOLERANCE
        if own_photometry(model):
            tested, tolerance = prior_examples(model, priors, _OWN_DRAWS), _OWN_TOLERANCE
        if not filters or _agrees(fast, model, obs, sps, bands, tested, tolerance):
            return fast
        return ModelFluxes(
            model, obs, sps, bands, draws,
            f"{type(model).__name__}.predict gives other photometry than FSPS's parameters alone",
        )  # fmt: skip
    if not hasattr(sps, "emulator"):
        return ModelFluxes(model, obs, sps, bands, draws, f"sps is a {type(sps).__name__}")
    fast = NetworkFluxes(model, obs, sps, bands, priors, nuisance)
    if not _agrees(fast, model, obs, sps, bands, draws[:3]):
        extra = sorted(set(model.params) - set(VECTORS) - set(fast.emulator.parameters))
        raise ModelMismatchError(
            f"{type(model).__name__}.predict gives other photometry than emulator "
            f"{fast.emulator.name!r} alone; one of its parameters changes it "
            f"({', '.join(extra)}): {SLOW_ROAD}."
        )
    return fast


def _check_distance(model):
    """Refuse a luminosity distance that is none: fluxes go with its square."""
    given = model.params.get("lumdist", 1.0)
    try:
        good = np.size(given) == 1 and 0.0 < float(np.squeeze(given)) < np.inf
    except (TypeError, ValueError):
        good = False
    if not good:
        raise ModelMismatchError(f"lumdist = {given} of the model is not a distance; give Mpc.")


def prior_examples(model, priors=None, n=3):
    """Vectors (n, ndim) from the prior, the same at each call."""
    priors = compile_priors(model) if priors is None else priors
    return prior_draws(priors, np.random.default_rng(0).random((n, model.ndim)))


def _agrees(fast, model, obs, sps, bands, draws, tolerance=_FLUX_TOLERANCE):
    """A subclass or an extra parameter may change the photometry: ask the model itself."""
    expected = _predict(model, obs, sps, draws)[0][:, bands]
    known = np.isfinite(expected).all(axis=1)
    return np.allclose(fast.maggies(draws)[known], expected[known], **tolerance)


def _predict(model, obs, sps, theta):
    """Photometry (n, nfilter) and surviving mass fraction (n,) by the model itself.

    NaN where Prospector's transforms raise ValueError, as its likelihood is zero there.
    """
    before = model.theta.copy()
    nband = len(observation.filter_list(obs["filters"]))
    flux, left = np.full((len(theta), nband), np.nan), np.full(len(theta), np.nan)
    full = adapter.prepared(obs)
    try:
        for i, row in enumerate(theta):
            try:
                # Twice in all: in some of Prospector's templates a transform reads another
                # that is computed after it, and so belongs to the vector before.
                model.set_parameters(row)
                _, flux[i], left[i] = adapter.predict(model, row, full, sps)
            except ValueError:
                continue
    finally:
        model.set_parameters(before)
    return flux, left


class ExactFluxes:
    """FSPS's physics compiled for a model and some bands.

    With `at_rest` at redshift zero, 10 pc and without intergalactic absorption.

    Attributes
    ----------
    map : ParameterMap
    compiled : prospect_emu.sps.fold.Compiled
    ingredients : Ingredients
    """

    def __init__(self, model, filters, sps, priors=None, at_rest=False):
        self.map = ParameterMap(model, priors)
        # The map has looked at the names, with the transforms that read them.
        sps.checked.update(model.params)
        fixed = fsps_parameters({**sps.given, **self.map.fixed}, self._binned(sps))
        self._drop_mass_units(model, fixed)
        varying = fsps_parameters(dict.fromkeys(self.map.varying), self._binned(sps))
        stars = [k for k in varying if k in INGREDIENTS]
        if stars:
            raise ModelMismatchError(
                f"{stars[0]} varies in the model, but acts on the stars themselves; fix it."
            )
        switches = [k for k in varying if k in SETTINGS]
        if switches:
            raise NotCompiledError(f"{switches[0]} varies")
        chosen = {k: np.asarray(fixed[k]).item() for k in INGREDIENTS if k in fixed}
        self.ingredients = find_ingredients(**chosen)
        warn_of_other_libraries(self.ingredients, chosen)
        self._varying = tuple(varying)
        draws = _FEW_DRAWS if self.map.row_by_row else _DRAWS
        ranges = {
            k: v for k, v in self.map.ranges(n=draws).items() if np.ndim(v[0]) == 0 and k in varying
        }
        self.fixed = {k: v for k, v in fixed.items() if k not in varying}
        if at_rest:
            # Where there is no distance, Prospector's is 10 pc.
            self._varying = tuple(k for k in varying if k not in _OF_DISTANCE)
            for parts in (self.fixed, ranges):
                for name in _OF_DISTANCE:
                    parts.pop(name, None)
            self.fixed |= {"zred": 0.0, "add_igm_absorption": False}
        self._size = None
        if not self._binned(sps):
            self._size = np.size(model.params.get("mass", 1.0))
            for name, value in self.fixed.items():
                if np.size(value) > 1:
                    if name in SETTINGS:
                        raise NotCompiledError(f"{name} differs between components")
                    self.fixed[name] = of_components(np.reshape(value, (1, -1)), self._size)
        sps.check_ages(self.fixed, ranges)
        if "agebins" in self.fixed and too_short(self.fixed["agebins"]):
            raise ModelMismatchError(
                "An age bin of the model is shorter than 1 Myr, where Prospector's FastStepBasis "
                "stops; make it longer."
            )
        self.compiled = None
        filters = self._targets(filters)
        if not len(filters):
            return
        self.compiled = sps.compiled(
            self.ingredients, filters, self.fixed, self._varying, ranges, self._lines_apart(model)
        )
        if self.map.cost:
            warnings.warn(self.map.cost, stacklevel=4)
        error = max((self.compiled.error or {"": 0.0}).values())
        if error > _ERROR:
            warnings.warn(
                f"The compiled fluxes are off by up to {error:.1e} of whole spectra; narrow the "
                "priors of the dust parameters.",
                stacklevel=4,
            )
        if not self.compiled.folded:
            warnings.warn(
                f"Whole spectra are computed for each vector ({self.compiled.why}), milliseconds "
                "instead of microseconds.",
                stacklevel=4,
            )

    @staticmethod
    def _drop_mass_units(model, fixed):
        """`SpecModel` does not read them; of several components `CSPSpecBasis` does."""
        single = "agebins" in model.params or np.size(model.params.get("mass", 1.0)) == 1
        if not single or not isinstance(model, adapter.SpecModel):
            return
        if np.all(np.asarray(fixed.pop("mass_units", "mformed")) == "mstar"):
            warnings.warn(
                "mass is the mass formed, in spite of mass_units = 'mstar', which Prospector's "
                "SedModel reads and its SpecModel does not.",
                stacklevel=5,
            )

    def _lines_apart(self, model):
        """Which lines are computed where they are not in the spectrum."""
        return lines_apart(model)

    def _targets(self, filters):
        """What `compile_sps` is given as filters."""
        if callable(filters):
            return filters(self.ingredients.wave, {*self.map.varying, *self.map.other})
        return filters

    def _binned(self, sps):
        return "agebins" in {*sps.given, *self.map.fixed, *self.map.varying}

    @property
    def quick(self):
        """Whether a vector costs microseconds."""
        return self.compiled is not None and self.compiled.folded and not self.map.row_by_row

    def _parameters(self, theta):
        """FSPS's parameters that vary, and which rows are possible."""
        values = self.map(theta)
        params = {k: values[k] for k in self._varying}
        possible = np.ones(len(theta), dtype=bool)
        for k, v in params.items():
            if self._size and v.ndim == 2:
                params[k] = of_components(v, self._size)
            possible &= np.isfinite(v.reshape(len(v), -1)).all(axis=1)
        if "agebins" in params:
            # Flexible bins may be too short, or overlap, for extreme ratios.
            possible &= ~too_short(params["agebins"])
        return params, possible

    def maggies(self, theta):
        """Fluxes (n, nband); NaN where a transform of the model raises ValueError."""
        params, possible = self._parameters(np.asarray(theta, dtype=float))
        if possible.all():
            return self._compute(params, len(theta))
        out = np.full((len(theta), len(self.compiled.filters)), np.nan)
        if possible.any():
            some = {k: v[possible] for k, v in params.items()}
            out[possible] = self._compute(some, int(possible.sum()))
        return out

    def _compute(self, params, n):
        flux = self.compiled.maggies(params)
        return flux if len(flux) == n else np.repeat(flux, n, axis=0)

    def quantities(self, theta, rows=2048):
        """Surviving mass fraction (n,) and `prospect_emu.sps.history.QUANTITIES` by name."""
        parts = [self._quantities(theta[i : i + rows]) for i in range(0, len(theta), rows)]
        mfrac = np.concatenate([m for m, _ in parts])
        return mfrac, {k: np.concatenate([q[k] for _, q in parts]) for k in parts[0][1]}

    def _quantities(self, theta):
        history, mfrac = self._history(theta)
        return mfrac, history.quantities(mfrac)

    def _history(self, theta):
        params, _ = self._parameters(np.asarray(theta, dtype=float))
        # One row each even where nothing of the history varies.
        given = {**self.fixed, **params, "zred": np.zeros(len(theta))}
        given = {k: v for k, v in given.items() if k != "lumdist"}
        of_each = surviving(self.ingredients, given, components=True)
        mfrac = surviving(self.ingredients, given)
        return History(given, self.ingredients.log_age, of_each), mfrac

    def sed(self, theta, **switches):
        """Whole spectra with their lines, as observed, in maggies.

        Parameters
        ----------
        theta : array_like, shape (n, ndim)
        **switches
            FSPS's parameters in place of the model's, such as ``add_neb_emission=False``.

        Returns
        -------
        ndarray, shape (n, nwave)
            At the ingredients' wavelengths, shifted by 1 + z.
        """
        theta = np.asarray(theta, dtype=float)
        params, _ = self._parameters(theta)
        zred = self.zred(theta)
        given = {**self.fixed, **params, "nebemlineinspec": True, **switches, "zred": zred}
        distance = given.pop("lumdist", None)
        out = spectrum(self.ingredients, given)
        scale = flux_factor(zred, distance)
        if np.all(np.asarray(given.get("mass_units", "mformed")) == "mstar"):
            scale = scale / out.mfrac
        return out.lnu * np.reshape(scale, (-1, 1))

    def star_formation(self, theta, lookback):
        """Mean star-formation rates between lookback times, (n, m - 1) Msun/yr.

        Parameters
        ----------
        theta : array_like, shape (n, ndim)
        lookback : ndarray, shape (m,)
            Years, increasing.
        """
        formed = self._history(theta)[0].formed_since(lookback)
        return np.diff(formed, axis=1) / np.diff(lookback)

    def zred(self, theta):
        """Redshifts (n,)."""
        fixed = self.fixed.get("zred", DEFAULTS["zred"])
        varying = self.map(np.asarray(theta, dtype=float)).get("zred", fixed)
        return np.broadcast_to(np.asarray(varying, dtype=float), (len(theta),))


class ModelFluxes:
    """The model's own predictions, row by row, at Prospector's pace."""

    quick = False

    def __init__(self, model, obs, sps, bands, draws, why):
        self._model, self._obs, self._sps, self._bands = model, obs, sps, bands
        start = time.perf_counter()
        _predict(model, obs, sps, draws)
        spent = (time.perf_counter() - start) / len(draws)
        warnings.warn(
            f"{why}: the model predicts each vector by itself, {1e3 * spent:.1f} ms each.",
            stacklevel=4,
        )

    def maggies(self, theta):
        """Fluxes (n, nband)."""
        return _predict(self._model, self._obs, self._sps, theta)[0][:, self._bands]

    def quantities(self, theta):
        """Surviving mass fraction (n,), and nothing else that is known."""
        return _predict(self._model, self._obs, self._sps, theta)[1], {}
