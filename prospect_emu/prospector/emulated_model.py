"""A Prospector model as an emulator sees it: its vector of parameters, and what must agree."""

import numpy as np

from ..errors import ModelMismatchError, RangeError
from ..networks import sfh
from ..networks.vector import RATIO_NAMES
from ..parameters import DEFAULTS, FIXED, OUTPUT, PARAMETERS, SFH, matters

# What `theta_from_params` reads besides mass and age bins.
_INPUTS = (
    "zred", "logzsol", "dust1", "dust2", "dust_index", "fagn", "agn_tau", "gas_logz",
    "duste_qpah", "duste_umin", "duste_gamma",
)  # fmt: skip
# No parameters of python-fsps: the torus follows fagn alone, and mass units are Prospector's.
_OTHERS = {"add_agn_dust": True, "mass_units": "mformed"}
# Fixed in the recipe, but without a say in photometry: FastStepBasis sets sfh
# itself, and smoothing applies to spectra.
_UNCHECKED = ("sfh", "sigma_smooth")


def expected(emulator):
    """Values by name that a model must have: the emulator's fixed ones, else FSPS's defaults."""
    fixed = {k: v for k, v in emulator.fixed.items() if k not in _UNCHECKED}
    # Others that would change the spectrum.
    return fixed | {
        name: p.default
        for name, p in PARAMETERS.items()
        if name not in (*_INPUTS, *emulator.fixed)
        and (p.acts_on not in (OUTPUT, SFH) or name in FIXED)
        and matters(name, fixed)
    }


def check_model(emulator, model):
    """Compare a Prospector model with what was emulated; see `NetworkSPS.check_model`."""
    fixed = expected(emulator)
    check_fixed(emulator, fixed, model.params)
    varying = [
        name
        for name in (*emulator.fixed, *fixed)
        if name in model.free_params or model.config_dict.get(name, {}).get("depends_on")
    ]
    if varying:
        raise ModelMismatchError(
            f"{', '.join(dict.fromkeys(varying))} vary in the model, but emulator "
            f"{emulator.name!r} holds them fixed and would ignore them; fix them."
        )
    prior = _prior_bounds(model)
    lo, hi = _reach(emulator, model, *prior)
    bounds = emulator.bounds
    slack = 1e-6 * (bounds[:, 1] - bounds[:, 0])
    bad = ~((lo >= bounds[:, 0] - slack) & (hi <= bounds[:, 1] + slack))
    rows = [
        f"  {emulator.parameters[i]:18s} {lo[i]:10.4g} {hi[i]:10.4g}   "
        "{:10.4g} {:10.4g}".format(*bounds[i])
        for i in np.flatnonzero(bad)
    ]
    rows += [
        f"  {label:18s} {a:10.4g} {b:10.4g}   (prior without bounds)"
        for label, a, b in zip(model.theta_labels(), *prior, strict=True)
        if not np.isfinite([a, b]).all()
    ]
    if rows:
        names = ("parameter", "model from", "to", "box from", "to")
        head = "  {:18s} {:>10s} {:>10s}   {:>10s} {:>10s}".format(*names)
        raise RangeError(
            f"The model reaches outside the training box of emulator {emulator.name!r} "
            "in the parameters below; narrow their priors or use another emulator.\n"
            + "\n".join([head, *rows])
        )


def check_fixed(emulator, fixed, params):
    """Raise `ModelMismatchError` if one of the fixed parameters, `expected`, has another value."""
    wrong = []
    for name, value in fixed.items():
        inherited = name not in params
        given = params.get(name, (DEFAULTS | _OTHERS).get(name))
        if not _same(given, value):
            note = " (FSPS's default; the model does not set it)" if inherited else ""
            wrong.append(f"{name} = {np.squeeze(given)}{note}, emulated {value}")
    if wrong:
        raise ModelMismatchError(
            f"The model differs from emulator {emulator.name!r}: {'; '.join(wrong)}. "
            "Change the model, or train an emulator for it."
        )


def theta_from_params(emulator, params):
    """The emulator's parameter vector (18,) from a Prospector parameter dictionary.

    Read are the parameters that FSPS itself would be given (``mass``,
    ``logzsol``, ``dust1``, ``fagn``, ...), so any parameterisation works
    whose age bins are the emulator's.

    Raises
    ------
    ModelMismatchError
        If a parameter is missing or the age bins are others.
    """
    try:
        values = {name: scalar(params[name]) for name in _INPUTS}
        mass, agebins = (np.asarray(params[k], dtype=float) for k in ("mass", "agebins"))
    except KeyError as err:
        raise ModelMismatchError(
            f"The model has no parameter {err}, which emulator {emulator.name!r} needs; "
            "start from prospect_emu.prospector.mathews23.model_params."
        ) from err
    zred, dust1, dust2 = (values[k] for k in ("zred", "dust1", "dust2"))
    expected = sfh.agebins(zred)
    if agebins.shape != expected.shape or np.abs(agebins - expected).max() > 1e-6:
        raise ModelMismatchError(
            f"The model's age bins at zred = {zred:.4g} are not the emulator's "
            "(prospect_emu.networks.sfh.agebins); use "
            "prospect_emu.prospector.mathews23.zred_to_agebins."
        )
    if dust2 == 0 and dust1 > 0:
        raise RangeError(
            f"dust1 = {dust1:.4g} with dust2 = 0 has no dust1_fraction; emulator "
            f"{emulator.name!r} cannot represent it: keep dust2 above zero."
        )
    values["dust1_fraction"] = dust1 / dust2 if dust2 else 1.0
    fagn, gamma = values["fagn"], values["duste_gamma"]
    if fagn <= 0 or gamma <= 0:
        raise RangeError(
            f"fagn = {fagn:.4g} and duste_gamma = {gamma:.4g} must be positive, since emulator "
            f"{emulator.name!r} knows their logarithms; for none, use the lowest value of "
            "its box."
        )
    for name in ("fagn", "agn_tau", "duste_gamma"):
        values[f"log_{name}"] = np.log10(values[name])
    with np.errstate(divide="ignore"):
        values["logmass"], ratios = sfh.sfr_ratios_from_masses(mass, zred)
    values |= dict(zip(RATIO_NAMES, ratios, strict=True))
    return np.array([values[name] for name in emulator.parameters])


def _reach(emulator, model, lo, hi):
    """Lowest and highest value of each emulator parameter within the model's prior bounds.

    Every parameter of the emulator depends monotonically on each free one
    in the models it accepts, so the corners of the prior that differ from
    all-low or all-high in one place reach its whole range. An unbounded
    prior stays at the model's current value (`check_model` reports it).
    """
    current = model.theta.copy()
    lo, hi = np.where(np.isfinite(lo), lo, current), np.where(np.isfinite(hi), hi, current)
    flip = np.eye(lo.size, dtype=bool)
    corners = np.vstack([lo, hi, np.where(flip, hi, lo), np.where(flip, lo, hi)])
    try:
        theta = []
        for corner in corners:
            model.set_parameters(corner)
            theta.append(theta_from_params(emulator, model.params))
    finally:
        model.set_parameters(current)
    return np.min(theta, axis=0), np.max(theta, axis=0)


def _prior_bounds(model):
    """Lower and upper bound of each free value of a model.

    Raises
    ------
    RangeError
        If a prior does not tell its bounds.
    """
    bounds = []
    for name, where in model.theta_index.items():
        prior = model.config_dict[name]["prior"]
        try:
            lo, hi = prior.bounds()
        except (AttributeError, NotImplementedError, TypeError) as err:
            raise RangeError(
                f"The prior of {name}, {type(prior).__name__}, does not tell its bounds, so that "
                "it cannot be compared with the training box; use one of "
                "prospect_emu.prospector.priors."
            ) from err
        n = where.stop - where.start
        bounds.append(np.broadcast_to(np.array([lo, hi], dtype=float).reshape(2, -1), (2, n)))
    return np.concatenate(bounds, axis=1)


def scalar(value):
    """The number in what Prospector keeps as an array of one."""
    return float(np.squeeze(value))


def _same(a, b):
    a, b = np.squeeze(a), np.squeeze(b)
    if a.dtype.kind in "US" or b.dtype.kind in "US":
        return str(a) == str(b)
    return bool(np.all(np.isclose(a.astype(float), b.astype(float), rtol=1e-9, atol=1e-12)))
