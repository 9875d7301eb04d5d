"""Parameters of a batch of galaxies: names checked, shapes made equal, rows of components."""

import numpy as np

from ..errors import ModelMismatchError, RangeError
from ..parameters import BASIS, DEFAULTS, FIXED, INGREDIENTS, OUTPUT, PARAMETERS, misspelt
from . import ages, attenuation, parametric
from .ingredients import different

# One value for all rows that are computed together.
SETTINGS = (
    "sfh", "dust_type", "dust_tesc", "add_neb_emission", "add_neb_continuum", "nebemlineinspec",
    "add_dust_emission", "add_igm_absorption",
)  # fmt: skip
# Of no effect on the light.
_NO_LIGHT = tuple(k for k, v in PARAMETERS.items() if v.acts_on == OUTPUT)
# By how much ranges of a prior may be wider than the prior.
SLACK = 0.03


def check_names(params):
    """Refuse names that are no parameters, and values that only FSPS itself can compute."""
    for name in params:
        if name not in DEFAULTS and name not in BASIS:
            meant = misspelt(name)
            what = f"write {meant!r}" if meant else "check its spelling, or drop it"
            raise ModelMismatchError(
                f"{name!r} is not a parameter of FSPS (nor mass, agebins or a table); {what}."
            )
    for name, value in FIXED.items():
        if name in params and np.any(np.asarray(params[name]) != value):
            raise RangeError(f"{name} is {_first(params[name])}; only {value!r} is supported here.")
    if np.any(np.asarray(params.get("sigma_smooth", 0.0)) > 0.0):
        raise RangeError(
            "sigma_smooth is set, but FSPS's smoothing is not done here; smooth after."
        )


def check_ingredients(ingredients, params):
    """Refuse stellar parameters other than those of the ingredients."""
    have = ingredients.parameters
    wanted = have | {k: _single(k, params[k]) for k in INGREDIENTS if k in params}
    for name in different(wanted, have):
        raise ModelMismatchError(
            f"{name} is {wanted[name]}, but the ingredients {ingredients.label} were made with "
            f"{have.get(name, DEFAULTS[name])}; use find_ingredients({name}={wanted[name]})."
        )


def check_umin(ingredients, umin):
    """Refuse a ``duste_umin`` for which FSPS has no template."""
    last = ingredients.dust_umin[-1]
    if umin > last:
        raise RangeError(
            f"duste_umin is {umin:g}; above {last:g} FSPS reads beyond the end of its table of "
            f"dust emission: keep it, or its prior, up to {last:g}."
        )


def check_values(ingredients, fixed, ranges):
    """Refuse fixed values, and ranges of free ones, for which FSPS stops.

    Parameters
    ----------
    ingredients : Ingredients
    fixed : dict
        FSPS's parameters, one value each.
    ranges : dict
        (low, high) of free ones, which may reach over the ends by `SLACK`.

    Returns
    -------
    dict
        The ranges, up to those ends.
    """
    for name, value in fixed.items():
        _check_finite(name, np.asarray(value))
    attenuation.check({k: np.asarray(v) if k != "dust_type" else v for k, v in fixed.items()})
    ends = attenuation.limits(fixed.get("dust_type", DEFAULTS["dust_type"]))
    if fixed.get("add_dust_emission", DEFAULTS["add_dust_emission"]):
        check_umin(ingredients, np.max(fixed.get("duste_umin", DEFAULTS["duste_umin"])))
        ends["duste_umin"] = (-np.inf, ingredients.dust_umin[-1])
    out = dict(ranges)
    for name in ends.keys() & out.keys():
        (low, high), end = out[name], ends[name]
        if name == "duste_umin" and high > (1.0 + SLACK) * end[1]:
            check_umin(ingredients, high)
        if low < end[0] - SLACK * abs(end[0]) or high > end[1] + SLACK * abs(end[1]):
            raise RangeError(
                f"{name} reaches from {low:g} to {high:g}, but FSPS allows {end[0]:g} to "
                f"{end[1]:g}; narrow its prior."
            )
        out[name] = max(low, end[0]), min(high, end[1])
    return out


def settings(params):
    """Values of `SETTINGS`, which must not change between rows."""
    out = {k: _single(k, params.get(k, DEFAULTS[k])) for k in SETTINGS}
    for name, value in out.items():
        # FSPS takes them for integers.
        if isinstance(DEFAULTS[name], bool) and value not in (0, 1):
            raise RangeError(f"{name} is {value!r}; it is a switch: give True or False.")
    if out["sfh"] not in range(6):
        raise RangeError(f"sfh is {out['sfh']!r}; FSPS has the histories 0, 1, 3, 4 and 5.")
    return out


def _check_finite(name, value):
    if value.dtype.kind == "f" and not np.isfinite(value).all():
        raise RangeError(f"{name} is {value[~np.isfinite(value)].flat[0]:g}; give a number.")


def _first(value):
    return np.asarray(value).flat[0]


def _single(name, value):
    value = np.unique(np.asarray(value))
    if value.size != 1:
        raise RangeError(f"{name} differs between rows; give rows of one {name} at a time.")
    return value[0].item()


class Rows:
    """FSPS's parameters as columns: one row for each component of each galaxy.

    Parameters
    ----------
    params : dict
        Scalars, (n,), or (n, ncomponent); ``mass`` (n,) or (n, ncomponent), or with
        ``agebins`` (nbin, 2) or (n, nbin, 2) of shape (nbin,) or (n, nbin).

    Attributes
    ----------
    n, ncomponent : int
    values : dict
        (n * ncomponent,) arrays of what was given, less `BASIS`.
    """

    def __init__(self, params):
        self.settings = settings(params)
        self.binned = "agebins" in params
        self.table = "tabular_time" in params
        given = {
            k: np.asarray(v)
            for k, v in params.items()
            if k not in (*BASIS, *SETTINGS, *INGREDIENTS, *_NO_LIGHT)
        }
        mass = np.asarray(params.get("mass", 1.0), dtype=float)
        if self.binned:
            mass = np.atleast_2d(mass)
            bins = np.asarray(params["agebins"], dtype=float)
            if bins.ndim < 2 or bins.shape[-2] != mass.shape[-1]:
                raise RangeError(
                    f"mass has {mass.shape[-1]} bins and agebins {bins.shape}; give one mass a bin."
                )
        lengths = {np.shape(v)[0] for v in given.values() if np.ndim(v)} | (
            {mass.shape[0]} if mass.ndim else set()
        )
        if self.binned and bins.ndim == 3:
            lengths.add(bins.shape[0])
        if self.table:
            lengths |= {
                len(params[k]) for k in ("tabular_time", "tabular_sfr") if np.ndim(params[k]) == 2
            }
        lengths.discard(1)
        if len(lengths) > 1:
            raise RangeError(
                f"parameters have different numbers of rows ({sorted(lengths)}); give (n,) each."
            )
        self.n = lengths.pop() if lengths else 1
        tabular = self.binned or self.table
        second = [v.shape[1] for v in given.values() if v.ndim == 2]
        if not tabular and mass.ndim == 2:
            second.append(mass.shape[1])
        self.ncomponent = max(second, default=1)
        if tabular and self.ncomponent > 1:
            raise RangeError("parameters by component belong to parametric histories, not bins.")
        self.values = {k: self._expand(k, v) for k, v in given.items()}
        self.mass = mass if self.binned else self._expand("mass", mass).astype(float)
        self.params = params

    def _expand(self, name, value):
        if value.ndim < 2:
            value = value.reshape(-1, 1)
        if value.shape[1] not in (1, self.ncomponent):
            raise RangeError(
                f"{name} has {value.shape[1]} components, others {self.ncomponent}; give as many."
            )
        return np.broadcast_to(value, (self.n, self.ncomponent)).ravel()

    def get(self, name):
        """A parameter, (n * ncomponent,)."""
        value = self.values.get(name, np.asarray(DEFAULTS[name]))
        return np.broadcast_to(value, (self.n * self.ncomponent,)).astype(float)

    def check(self, ingredients):
        """Refuse what FSPS stops at."""
        for name, value in self.values.items():
            _check_finite(name, value)
        attenuation.check(self.values | self.settings)
        if self.settings["add_dust_emission"]:
            check_umin(ingredients, self.get("duste_umin").max())

    def star_formation(self, log_age):
        """Weights of SSPs and masses.

        Returns
        -------
        weights : ndarray, shape (rows, nage)
            Msun as FSPS is given them: of all that forms (tables and bins), or of one
            Msun (parametric).
        formed : ndarray, shape (rows,)
            Msun formed, to which `weights` belong.
        scale : ndarray, shape (rows,)
            What the light of `weights` is multiplied by.
        """
        one = np.ones(self.n * self.ncomponent)
        if self.binned:
            bins = np.asarray(self.params["agebins"], dtype=float)
            mass = np.broadcast_to(self.mass, (self.n, self.mass.shape[1]))
            if bins.ndim == 2:
                weights = mass @ ages.step_weights(log_age, bins)
            else:
                bins = np.broadcast_to(bins, (self.n, *bins.shape[1:]))
                weights = ages.step_sums(log_age, bins, mass)
            return weights, mass.sum(axis=1) * one, one
        if self.table:
            time, sfr = self.params["tabular_time"], self.params["tabular_sfr"]
            weights = ages.tabular_weights(log_age, time, sfr, self.get("tage"))
            weights = np.broadcast_to(weights, (self.n, log_age.size))
            # As much as forms until tage; the mass asked for, if any, replaces it.
            formed = _formed(np.atleast_2d(time), np.atleast_2d(sfr), self.get("tage"))
            scale = self.mass / formed if "mass" in self.params else one
            return weights, formed * one, scale
        values = self.values | {"sfh": self.settings["sfh"]}
        weights = parametric.parametric_weights(log_age, values)
        weights = np.broadcast_to(weights, (one.size, log_age.size))
        return weights, one, self.mass


def _formed(time, sfr, tage):
    """Msun formed until `tage` of tables in Gyr and Msun/yr, (n,)."""
    time, sfr = np.broadcast_arrays(time, np.maximum(sfr, ages.MIN_SFR))
    out = np.zeros(np.broadcast_shapes((len(time),), np.shape(tage)))
    for i, end in enumerate(np.broadcast_to(tage, out.shape)):
        t, s = time[min(i, len(time) - 1)], sfr[min(i, len(sfr) - 1)]
        node = np.minimum(t, end)
        out[i] = np.trapezoid(np.interp(node, t, s), node) * 1e9
    return out
