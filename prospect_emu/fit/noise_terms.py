"""Parameters of a likelihood: amplitudes of a noise model, and outliers."""

from dataclasses import dataclass

import numpy as np

from ..errors import ModelMismatchError, SetupError

_USE_PROSPECTOR = "use prospect.fitting.fit_model for it"


@dataclass(frozen=True)
class Scalar:
    """A parameter of the likelihood: a column of the parameter vector, or a constant."""

    column: int | None
    value: float = np.nan

    def __call__(self, theta):
        """Shape (n, 1), or a float."""
        return self.value if self.column is None else theta[:, self.column, None]


def noise_terms(model, noise, weights, used, one=1.0):
    """Amplitudes and weights of a noise model; `used` gains their names.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
    noise : Noise
    weights : dict of ndarray, shape (nband,)
    used : set of str
    one : float
        Weight of a term without any.
    """
    if noise.why:
        raise ModelMismatchError(noise.why)
    unity = np.full(weights["unc"].shape, one)
    return tuple(
        (_scalar(model, name, used), unity if weight is None else weights[weight])
        for name, weight in noise.terms
    )


def outlier_terms(model, noise, used):
    """Fraction and width of outliers among bands or pixels, or None."""
    fixed = noise.fraction not in model.theta_index
    if fixed and not np.any(np.asarray(model.params.get(noise.fraction, 0.0)) != 0.0):
        return None
    nsigma = Scalar(None, noise.default_width)
    if noise.width in model.params:
        nsigma = _scalar(model, noise.width, used)
    return _scalar(model, noise.fraction, used), nsigma


def _scalar(model, name, used):
    span = model.theta_index.get(name)
    if span is not None:
        if span.stop - span.start != 1:
            raise ModelMismatchError(f"{name} has several values; give it one (N = 1).")
        used.add(name)
        return Scalar(span.start)
    if name not in model.params:
        # No other likelihood can do without it.
        raise SetupError(
            f"The noise model reads the parameter {name!r}, which the model does not have; add it."
        )
    if model.config_dict.get(name, {}).get("depends_on"):
        raise ModelMismatchError(
            f"{name} depends on other parameters, which is not compiled; make it free or fix it, "
            f"or {_USE_PROSPECTOR}."
        )
    value = np.squeeze(model.params[name])
    if value.ndim:
        raise ModelMismatchError(f"{name} has several values; give it one (N = 1).")
    return Scalar(None, float(value))
