"""Compile FSPS's physics for one model and its bands: microseconds per galaxy.

`compile_sps` folds what is fixed (redshift, bins, switches, curves) into matrices; where the
redshift is free, all but it (`prospect_emu.sps.redshifts`). What comes out agrees with
`spectrum` through the bands to about 1e-5; it is measured for every model (`Compiled.error`).
Rows that the matrices do not hold go through whole spectra.
"""

from functools import cached_property, partial

import numpy as np

from ..cosmology import age_of_universe, flux_factor
from ..errors import ModelMismatchError, RangeError
from ..observe.photometry import FilterProjector
from ..parameters import DEFAULTS, INGREDIENTS
from ..workers import single_thread
from . import inputs
from .columns import band_targets, line_weights
from .compiled import Folded
from .nodes import RANGES
from .parametric import possible
from .redshifts import ZRED, Redshifts
from .spectrum import spectrum

# What bands need beside FSPS's own parameters: the distance in Mpc.
_DISTANCE = "lumdist"
_PLACE = {"zred": 0.0, _DISTANCE: None}
# Rows on which the folding is measured.
_PROBES = 32
_CHUNK = 64
# 25 mag below the brightest band: single precision ends somewhere behind 40 optical depths.
_FAINT = 1e-10
_PER_BINS = {"agebins": 3, "tabular_time": 2, "tabular_sfr": 2}


def compile_sps(
    ingredients, filters, fixed, free, ranges=None, lines_apart=False, quadrature="converged"
):
    """Prepare band fluxes of galaxies that share what is fixed.

    Parameters
    ----------
    ingredients : Ingredients
    filters : sequence of sedpy.observate.Filter, or Samples
        Or what else weighs samples and lines as `prospect_emu.observe.pixels.Samples` does.
    fixed : dict
        FSPS's parameters by name, as `spectrum` takes them, and ``lumdist`` (Mpc): one
        value each, ``agebins`` (nbin, 2), tables (ntime,). What is neither here nor in
        `free` is FSPS's default.
    free : sequence of str
        Names that vary from row to row.
    ranges : dict, optional
        ``{name: (low, high)}`` of free parameters, in which the folding must hold: quantiles
        of the priors. Rows outside those of the dust and the redshift are computed from whole
        spectra; so ranges decide about speed, not about results.
    lines_apart : bool or array_like of bool, shape (nline,)
        Add the flux of the lines to the bands where ``nebemlineinspec`` is False, as
        Prospector does; of all lines or some.
    quadrature : {"converged", "sedpy"}
        See `FilterProjector`.

    Returns
    -------
    Compiled

    Raises
    ------
    ModelMismatchError
        For unknown names, and names that are fixed and free.
    RangeError
        Where FSPS stops for the fixed parameters.
    """
    made = Compiled(ingredients, filters, fixed, free, ranges, lines_apart, quadrature)
    made.fold()
    return made


class Compiled:
    """Band fluxes of one model; made by `compile_sps`, which takes the same and folds it.

    Attributes
    ----------
    free : tuple of str
    fixed : dict
    filters : list
    folded : bool
    why : str
        Why nothing is folded, else empty.
    error : dict or None
        ``{band: largest relative error of the folding}`` on draws inside the ranges; None
        if nothing is folded.
    direct_rows : ndarray of bool
        Rows of the last call that were computed from whole spectra.
    """

    def __init__(
        self, ingredients, filters, fixed, free, ranges=None, lines_apart=False,
        quadrature="converged",
    ):  # fmt: skip
        self.ingredients, self.filters = ingredients, list(filters)
        self.fixed, self.free = dict(fixed), tuple(free)
        self._check()
        self._ranges = inputs.check_values(ingredients, self._physics(self.fixed), ranges or {})
        self._projector = filters
        if not hasattr(filters, "weights"):
            self._projector = FilterProjector(self.filters, ingredients.wave, quadrature)
        settings = inputs.settings(self._physics(self.fixed))
        units = self.fixed.get("mass_units", "mformed")
        self._per_mass_left = bool(np.all(np.asarray(units) == "mstar"))
        self._lines = None
        self._factor = None
        if not any(k in self.free for k in _PLACE):
            self._factor = self._factors({})
        apart = not settings["nebemlineinspec"] and settings["add_neb_emission"]
        if apart and np.any(lines_apart):
            self._lines = np.broadcast_to(lines_apart, ingredients.line_wave.shape).astype(bool)
        self.direct_rows = np.zeros(0, dtype=bool)
        self._folded, self._quadrature, self._settings = None, quadrature, settings
        self.why = _unfoldable(ingredients, self.fixed, set(self.free), settings)

    def fold(self):
        """What makes rows take microseconds, unless there is a reason `why` it cannot."""
        if not self.why:
            # These products are small: several threads would wait for each other.
            with single_thread():
                self._folded = self._fold_all(self._settings, self._quadrature)

    @cached_property
    def error(self):
        """See `Compiled`."""
        if self._folded is None:
            return None
        with single_thread():
            return self._measure()

    def __repr__(self):
        how = f"not folded: {self.why}" if self.why else "folded"
        return f"Compiled({len(self.filters)} bands, free: {', '.join(self.free)}; {how})"

    def _fold_all(self, settings, quadrature):
        g, fixed, free = self.ingredients, self._physics(self.fixed), set(self.free)
        # What acts on wavelengths as they are observed.
        if "zred" in free or ("igm_factor" in free and settings["add_igm_absorption"]):
            samples = self._projector if hasattr(self._projector, "nodes") else None
            return Redshifts(
                g, getattr(samples, "bands", self.filters), fixed, free, self._ranges, settings,
                self._lines, quadrature, getattr(self._projector, "projector", None), samples,
            )  # fmt: skip
        targets = band_targets(g, self._projector, fixed, settings, self._lines)
        tolerance = getattr(self._projector, "gas_tolerance", None)
        return Folded(g, targets, fixed, free, self._ranges, settings, tolerance)

    @property
    def folded(self):
        """Whether rows take microseconds."""
        return self._folded is not None

    def _check(self):
        both = [k for k in self.free if k in self.fixed]
        if both:
            raise ModelMismatchError(f"{both[0]} is both fixed and free; name it once.")
        names = dict.fromkeys((*self.fixed, *self.free))
        inputs.check_names({k: self.fixed.get(k, 0.0) for k in names if k not in _UNCHECKED})
        inputs.check_names(self._physics(self.fixed))
        inputs.check_ingredients(self.ingredients, self.fixed)
        for name in self.free:
            if name in inputs.SETTINGS or name in INGREDIENTS or name == "mass_units":
                raise ModelMismatchError(f"{name} cannot vary from row to row; fix it.")

    @staticmethod
    def _physics(params):
        if _DISTANCE not in params:
            return params
        return {k: v for k, v in params.items() if k != _DISTANCE}

    # ---- rows ------------------------------------------------------------------------

    def _rows(self, params):
        """Free parameters with n rows each, and n."""
        missing = [k for k in self.free if k not in params]
        extra = [k for k in params if k not in self.free]
        if missing or extra:
            raise ModelMismatchError(
                f"the parameters must be {', '.join(self.free)}; "
                + (f"{missing[0]} is missing." if missing else f"{extra[0]} is not one of them.")
            )
        binned = "agebins" in self.fixed or "agebins" in self.free
        out = {}
        for name in self.free:
            value = np.asarray(params[name], dtype=float)
            rank = _PER_BINS.get(name, 2 if binned and name == "mass" else 1)
            while value.ndim < rank:
                value = value[None]
            out[name] = value
        n = max((len(v) for v in out.values()), default=1)
        for name, value in out.items():
            if len(value) not in (1, n):
                raise RangeError(f"{name} has {len(value)} rows, others {n}; give as many.")
            if len(value) < n:
                out[name] = np.broadcast_to(value, (n, *value.shape[1:]))
        return out, n

    def maggies(self, params):
        """Apparent fluxes in maggies, of all the mass.

        Parameters
        ----------
        params : dict
            The free parameters: (n,) each; ``mass`` (n, nbin) with age bins; ``agebins``
            (n, nbin, 2); tables (n, ntime); (n, ncomponent) where components sum.

        Returns
        -------
        ndarray, shape (n, nband)
        """
        return self._compute(params)[0]

    def mfrac(self, params):
        """Share of the mass formed that is left in stars and remnants, (n,)."""
        p, n = self._rows(params)
        inside = self._inside(p, n)
        if inside.any() and not inside.all():
            return self._compute(params, mfrac=True)[1]
        if not inside.any():
            return self._direct(p)[1]
        return self._folded.surviving(p, n)

    def direct(self, params):
        """`maggies` from whole spectra: milliseconds per row, any values."""
        return self._direct(self._rows(params)[0])[0]

    def maggies_and_mfrac(self, params):
        """Both at once."""
        return self._compute(params, mfrac=True)

    def _inside(self, p, n):
        physics = self._physics(p)
        if self._folded is None or self._by_component(physics):
            return np.zeros(n, dtype=bool)
        return self._folded.inside(physics, n)

    def _by_component(self, p):
        """Whether parameters of parametric histories are (n, ncomponent)."""
        if "agebins" in self.fixed or "agebins" in p:
            return False
        return any(v.ndim == 2 for k, v in p.items() if k not in _PER_BINS)

    def _compute(self, params, mfrac=False):
        p, n = self._rows(params)
        inside = self._inside(p, n)
        self.direct_rows = ~inside
        if inside.all():
            return self._fold(p, n, mfrac)
        if not inside.any():
            return self._direct(p)
        flux, left = np.empty((n, len(self.filters))), np.empty(n)
        fold = partial(self._fold, n=int(inside.sum()), mfrac=True)
        for rows, how in ((inside, fold), (~inside, self._direct)):
            flux[rows], left[rows] = how({k: v[rows] for k, v in p.items()})
        return flux, left

    def _fold(self, p, n, mfrac=False):
        flux, left = self._folded(self._physics(p), n, mfrac or self._per_mass_left)
        if self._per_mass_left:
            flux /= left[:, None]
        flux *= self._factor if self._factor is not None else self._factors(p)[:, None]
        return flux, left

    def _factors(self, p):
        zred, distance = (p.get(k, self.fixed.get(k, v)) for k, v in _PLACE.items())
        return flux_factor(zred, distance)

    def _direct(self, p):
        n = len(next(iter(p.values()))) if p else 1
        flux, left = np.empty((n, len(self.filters))), np.empty(n)
        zred = p.get("zred", self.fixed.get("zred", 0.0))
        zred = np.broadcast_to(np.ravel(np.asarray(zred, dtype=float)), (n,))
        factor = np.broadcast_to(self._factors(p), (n,))
        known = None
        for i in range(0, n, _CHUNK):
            at = slice(i, min(i + _CHUNK, n))
            given = self.fixed | {k: v[at] for k, v in p.items()}
            out = spectrum(self.ingredients, self._physics(given))
            left[at] = out.mfrac
            for j, row in enumerate(range(at.start, at.stop)):
                if zred[row] != known:
                    known = zred[row]
                    node, weight, start = self._projector.weights(known)
                    if self._lines is not None:
                        wave = out.line_wave
                        lines = line_weights(self._projector.filters, wave, known) * self._lines
                flux[row] = np.add.reduceat(out.lnu[j, node] * weight, start)
                if self._lines is not None:
                    flux[row] += lines @ out.line_lum[j]
        return flux * factor[:, None], left

    # ---- how well ----------------------------------------------------------------------

    def _measure(self):
        names = [getattr(f, "name", str(i)) for i, f in enumerate(self.filters)]
        p, n = self._rows(self.draw(_PROBES))
        p = {k: v[self._inside(p, n)] for k, v in p.items()} if p else p
        n = len(next(iter(p.values()))) if p else 1
        exact, fast = self._direct(p)[0], self._fold(p, n)[0]
        off = relative_error(fast, exact).max(axis=0, initial=0.0)
        return dict(zip(names, off.tolist(), strict=True))

    def draw(self, n, seed=0):
        """Rows of the free parameters inside the ranges, at random, for trying things out.

        Parameters without ranges are drawn from what FSPS's grids hold.
        """
        rng = np.random.default_rng(seed)
        g = self.ingredients
        limits = RANGES | {
            "logzsol": (g.logz[0], g.logz[-1]),
            "gas_logz": (g.neb_logz[0], g.neb_logz[-1]),
            "gas_logu": (g.neb_logu[0], g.neb_logu[-1]),
            "duste_qpah": (0.5, 7.0), "duste_umin": (0.1, 25.0), "duste_gamma": (0.0, 0.5),
            "fagn": (1e-4, 3.0), "agn_tau": (5.0, 150.0), "igm_factor": (0.5, 1.5),
            "zred": ZRED, "tau": (0.1, 10.0), "const": (0.0, 0.4), "fburst": (0.0, 0.4),
            "tburst": (0.1, 10.0), "sf_start": (0.0, 0.05), "sf_trunc": (0.5, 10.0),
            "sf_slope": (-1.0, 1.0), "lumdist": (10.0, 1e4),
        } | self._ranges  # fmt: skip
        zred = float(np.max(self.fixed.get("zred", 0.0)))
        universe = float(age_of_universe(zred))
        limits.setdefault("tage", (0.1, min(universe / 1e9, 13.0)))
        out = {}
        names = (*self.fixed, *self.free)
        for name in self.free:
            if name == "agebins":
                edges = np.append(0.0, np.linspace(7.5, np.log10(universe), 7))
                edges = np.tile(edges, (n, 1))
                edges[:, 1:-1] += rng.uniform(-0.1, 0.1, (n, edges.shape[1] - 2))
                out[name] = np.stack([edges[:, :-1], edges[:, 1:]], axis=-1)
            elif name == "tabular_time":
                out[name] = np.tile(np.linspace(0.0, universe / 1e9, 12), (n, 1))
            elif name == "tabular_sfr":
                size = np.size(self.fixed.get("tabular_time", np.zeros(12)))
                out[name] = 10.0 ** rng.normal(0.0, 0.5, (n, size))
            elif name == "mass":
                shape: tuple = (n,)
                if "agebins" in self.fixed:
                    shape = n, np.shape(self.fixed["agebins"])[-2]
                elif "agebins" in self.free:
                    shape = n, 7
                out[name] = 10.0 ** rng.normal(9.0, 0.7, shape)
            elif name in limits:
                low, high = limits[name]
                out[name] = rng.uniform(low, high, n)
            else:
                out[name] = np.full(n, float(DEFAULTS.get(name, 0.0)))
        return out if {"agebins", "tabular_time"} & {*names} else possible(out, self.fixed)


def relative_error(fast, exact):
    """Of fluxes (n, nband), each taken for no less than `_FAINT` of the row's brightest."""
    floor = _FAINT * np.abs(exact).max(axis=1, keepdims=True, initial=0.0)
    with np.errstate(divide="ignore", invalid="ignore"):
        off = np.abs(fast - exact) / np.maximum(np.abs(exact), floor)
    return np.where(fast == exact, 0.0, off)


_UNCHECKED = (_DISTANCE, *INGREDIENTS, *inputs.FIXED, "sigma_smooth")


def _unfoldable(g, fixed, free, settings):
    """Why a model is computed from whole spectra, or nothing."""

    def value(name):
        return float(np.asarray(fixed.get(name, DEFAULTS[name])))

    law = [k for k in ("wgp1", "wgp2", "wgp3") if k in free]
    if law and settings["dust_type"] == 3:
        return f"{law[0]} varies"
    if "frac_obrun" in free:
        return "frac_obrun varies"
    apart = settings["add_neb_emission"] and not settings["nebemlineinspec"]
    if apart and ("dust3" in free or value("dust3") != 0.0):
        return "dust3 does not act on lines apart"
    if "logzsol" not in free and not g.logz[0] <= value("logzsol") <= g.logz[-1]:
        return "logzsol lies beyond the metallicities of the populations"
    arrays = _ARRAYS if "agebins" in {*fixed, *free} else set(_ARRAYS) - {"mass"}
    if any(np.ndim(v) and np.size(v) > 1 for k, v in fixed.items() if k not in arrays):
        return "fixed parameters by component"
    if "agebins" in fixed and np.ndim(fixed["agebins"]) != 2:
        return "fixed age bins differ between rows"
    return ""


_ARRAYS = ("agebins", "mass", "tabular_time", "tabular_sfr")
