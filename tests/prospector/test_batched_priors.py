"""Batched priors against Prospector's own objects, row by row."""

import numpy as np
import pytest
from prospect.models import SpecModel
from prospect.models import priors as prospector
from prospect.models import priors_beta as beta
from prospect.models.sedmodel import HyperSpecModel
from prospect.models.templates import TemplateLibrary
from scipy import stats

from prospect_emu.errors import ModelMismatchError
from prospect_emu.prospector import priors
from prospect_emu.prospector.batched_priors import (
    compile_priors,
    prior_draws,
    ranges,
    unit_draws,
)
from prospect_emu.prospector.prior_joint import JOINT

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*wrong length prior:RuntimeWarning",
    "ignore:(divide by zero|invalid value|overflow):RuntimeWarning",
)
SIX = np.ones(6)
MASS_MET = {"mass_mini": 7.0, "mass_maxi": 12.5, "z_mini": -1.98, "z_maxi": 0.19}
REDSHIFT = {"zred_mini": 0.5, "zred_maxi": 13.0}
HISTORY = {
    "logsfr_ratio_mini": -5.0, "logsfr_ratio_maxi": 5.0, "logsfr_ratio_tscale": 0.3, "nbins_sfh": 7,
}  # fmt: skip
# Those that must not run row by row, with the number of their parameters.
CLOSED = {
    "Uniform": (prospector.Uniform(mini=-1.0, maxi=2.0), 1),
    "TopHat of three": (prospector.TopHat(mini=np.zeros(3), maxi=1.0 + np.arange(3)), 3),
    "TopHat, integers": (prospector.TopHat(mini=0, maxi=4), 1),
    "Normal": (prospector.Normal(mean=1.0, sigma=0.3), 1),
    "ClippedNormal": (prospector.ClippedNormal(mean=1.0, sigma=0.3, mini=0.0, maxi=2.0), 1),
    "ClippedNormal, tail": (prospector.ClippedNormal(mean=-2.0, sigma=0.5, mini=0.0, maxi=2.0), 1),
    "LogUniform": (prospector.LogUniform(mini=1e-3, maxi=10.0), 1),
    "Beta": (prospector.Beta(mini=-1.0, maxi=3.0, alpha=2.5, beta=1.7), 1),
    "Beta, Dirichlet": (
        prospector.Beta(mini=0.0, maxi=1.0, alpha=np.arange(5, 0, -1), beta=np.ones(5)),
        5,
    ),
    "LogNormal": (prospector.LogNormal(mode=0.3, sigma=0.4), 1),
    "LogNormalLinpar": (prospector.LogNormalLinpar(mode=2.0, sigma_factor=1.5), 1),
    "StudentT 2": (prospector.StudentT(mean=0 * SIX, scale=0.3 * SIX, df=2 * SIX), 6),
    "StudentT 1": (prospector.StudentT(mean=0.0, scale=0.3, df=1), 1),
    "StudentT 5": (prospector.StudentT(mean=0.2, scale=0.3, df=5), 1),
    "SkewNormal": (prospector.SkewNormal(location=1.0, sigma=0.4, skew=3.0), 1),
    "FastUniform": (prospector.FastUniform(a=-1.0, b=2.0), 1),
    "FastTruncatedNormal": (prospector.FastTruncatedNormal(a=-1.0, b=2.0, mu=0.3, sig=0.4), 1),
    "FastTruncatedEvenStudentTFreeDeg2": (
        prospector.FastTruncatedEvenStudentTFreeDeg2(hw=5.0 * SIX, sig=0.3 * SIX),
        6,
    ),
    "FastTruncatedEvenStudentTFreeDeg2Scalar": (
        prospector.FastTruncatedEvenStudentTFreeDeg2Scalar(hw=5.0, sig=0.3),
        1,
    ),
    "own TruncatedNormal": (priors.TruncatedNormal(mean=1, sigma=10, mini=0.1, maxi=25), 1),
    "own TruncatedStudentT2": (
        priors.TruncatedStudentT2(mean=0 * SIX, scale=0.3 * SIX, mini=-5 * SIX, maxi=5 * SIX),
        6,
    ),
    "own Tabulated": (
        priors.Tabulated(x=np.array([0.1, 0.5, 2.0, 6.0]), density=np.array([0.0, 3.0, 0.5, 0.0])),
        1,
    ),
    "own MassMet": (priors.MassMet(**MASS_MET), 2),
    "MultiVariateNormal": (
        prospector.MultiVariateNormal(
            mean=np.zeros(3),
            Sigma=np.array([[1.0, 0.3, 0.1], [0.3, 2.0, -0.2], [0.1, -0.2, 0.5]]),
        ),
        3,
    ),
    "PhiMet": (beta.PhiMet(const_phi=False, **REDSHIFT, **MASS_MET), 3),
    "PhiMet, constant": (beta.PhiMet(const_phi=True, **REDSHIFT, **MASS_MET), 3),
    "ZredMassMet": (beta.ZredMassMet(const_phi=False, **REDSHIFT, **MASS_MET), 3),
    "DymSFH": (beta.DymSFH(const_phi=True, **REDSHIFT, **MASS_MET, **HISTORY), 9),
    "DymSFHfixZred": (beta.DymSFHfixZred(zred=1.5, const_phi=True, **MASS_MET, **HISTORY), 9),
    "DymSFHfixZred, early": (beta.DymSFHfixZred(zred=7, const_phi=True, **MASS_MET, **HISTORY), 9),
    "PhiSFH": (beta.PhiSFH(const_phi=False, **REDSHIFT, **MASS_MET, **HISTORY), 9),
    "PhiSFHfixZred": (beta.PhiSFHfixZred(zred=1.5, const_phi=False, **MASS_MET, **HISTORY), 9),
    "NzSFH": (beta.NzSFH(const_phi=True, **REDSHIFT, **MASS_MET, **HISTORY), 9),
}


def one_prior(prior, size):
    """A model with a single parameter."""
    entry = {"N": size, "isfree": True, "init": np.full(size, 0.5), "prior": prior}
    return SpecModel({"x": entry})


def by_rows(function, x):
    return np.array([np.broadcast_to(function(row), row.shape) for row in x], dtype=float)


@pytest.mark.parametrize("name", CLOSED)
def test_quantiles(name):
    """Draws to 1e-9: closed forms on both sides, or a cosmology interpolated to 1e-10 (in dex)."""
    prior, size = CLOSED[name]
    (compiled,) = compile_priors(one_prior(prior, size))
    assert not compiled.rows
    u = np.random.default_rng(7).random((40, size))
    want = by_rows(prior.unit_transform, u)
    np.testing.assert_allclose(compiled.quantile(u), want, rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(compiled.quantile(u[:1]), want[:1], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", [n for n, (prior, _) in CLOSED.items() if type(prior) in JOINT])
def test_inverse(name):
    """Probabilities of the prior's own draws give these draws again."""
    prior, size = CLOSED[name]
    (compiled,) = compile_priors(one_prior(prior, size))
    x = by_rows(prior.unit_transform, np.random.default_rng(9).random((40, size)))
    u = compiled.inverse(x)
    assert ((u >= 0.0) & (u <= 1.0)).all()
    np.testing.assert_allclose(compiled.quantile(u), x, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", [n for n in CLOSED if n != "MultiVariateNormal"])
def test_log_density(name):
    """Log density inside, and -inf outside, as the prior itself says."""
    prior, size = CLOSED[name]
    (compiled,) = compile_priors(one_prior(prior, size))
    u = np.random.default_rng(8).random((12, size))
    x = by_rows(prior.unit_transform, u)
    x = np.concatenate([x, x[:3] + 100.0, x[:3] - 100.0])
    want = np.array([np.sum(prior(row)) for row in x])
    known = ~np.isnan(want)
    assert known[:12].all() and np.isfinite(want[:12]).all()
    got = compiled.log_density(x)
    # exp of it underflows in Prospector's pdf of unbounded priors.
    got[got < -745.0] = -np.inf
    np.testing.assert_allclose(got[known], want[known], rtol=1e-9, atol=1e-9)


def test_multivariate_normal_density():
    """Prospector's own takes covariances for widths; scipy's is the reference."""
    prior, size = CLOSED["MultiVariateNormal"]
    (compiled,) = compile_priors(one_prior(prior, size))
    x = np.random.default_rng(1).normal(size=(20, size))
    want = stats.multivariate_normal(np.zeros(3), prior.params["Sigma"]).logpdf(x)
    np.testing.assert_allclose(compiled.log_density(x), want, rtol=1e-10)


def test_whole_model():
    """All columns of a model with many priors, merged, against prior_transform."""
    params = TemplateLibrary["alpha"]
    params["zred"]["isfree"] = True
    model = SpecModel(params)
    compiled = compile_priors(model)
    assert len(compiled) < len(model.theta_index)
    u = np.random.default_rng(2).random((30, model.ndim))
    want = np.array([model.prior_transform(row) for row in u])
    theta = prior_draws(compiled, u)
    np.testing.assert_allclose(theta, want, rtol=1e-10)
    density = sum(prior.log_density(theta[:, prior.columns]) for prior in compiled)
    np.testing.assert_allclose(density, [model.prior_product(t) for t in theta], rtol=1e-10)


class Folded(prospector.Normal):
    """A user's subclass that knows batches."""

    def unit_transform(self, x, **kwargs):
        return np.abs(super().unit_transform(x))

    def __call__(self, x, **kwargs):
        return super().__call__(x) + np.log(2.0)


class Ordered(prospector.Prior):
    """A user's joint prior that knows single vectors only."""

    prior_params = ("mini", "maxi")

    def __len__(self):
        return 2

    def unit_transform(self, x, **kwargs):
        width = self.params["maxi"] - self.params["mini"]
        first = self.params["mini"] + width * x[0]
        return np.array([first, first + (self.params["maxi"] - first) * x[1]])

    def __call__(self, x, **kwargs):
        return np.array([0.0, -np.log(self.params["maxi"] - x[0])])


@pytest.mark.parametrize(
    ("prior", "size", "rows"),
    [(Folded(mean=0.0, sigma=1.0), 1, False), (Ordered(mini=0.0, maxi=3.0), 2, True)],
)
def test_subclasses(prior, size, rows):
    """By their own methods, whatever they inherit."""
    (compiled,) = compile_priors(one_prior(prior, size))
    assert compiled.rows == rows
    u = np.random.default_rng(3).random((20, size))
    x = by_rows(prior.unit_transform, u)
    np.testing.assert_allclose(compiled.quantile(u), x, rtol=1e-12)
    want = [np.sum(prior(row)) for row in x]
    np.testing.assert_allclose(compiled.log_density(x), want, rtol=1e-12)


def test_closed_form_that_differs_is_not_used():
    """An object changed by its user keeps its own methods."""
    prior = prospector.TopHat(mini=0.0, maxi=1.0)
    prior.unit_transform = lambda x, **k: np.asarray(x) ** 2
    (compiled,) = compile_priors(one_prior(prior, 1))
    u = np.linspace(0.1, 0.9, 9)[:, None]
    np.testing.assert_allclose(compiled.quantile(u), u**2, rtol=1e-12)


class Broken(prospector.TopHat):
    def unit_transform(self, x, **kwargs):
        raise TypeError("only length-1 arrays can be converted")


class Endless(prospector.TopHat):
    def unit_transform(self, x, **kwargs):
        return np.asarray(x) * np.inf


@pytest.mark.parametrize("kind", [Broken, Endless])
def test_unusable_prior_is_named(kind):
    with pytest.raises(ModelMismatchError, match=f"'x' \\({kind.__name__}\\).*another prior"):
        compile_priors(one_prior(kind(mini=0.0, maxi=1.0), 1))


class Correlated(SpecModel):
    """A model with a prior of its own: dust2 below what logzsol allows."""

    def prior_transform(self, unit_coords):
        theta = super().prior_transform(unit_coords)
        theta[self.theta_index["dust2"]] *= 0.5 * unit_coords[0]
        return theta

    def _prior_product(self, theta, **extras):
        return super()._prior_product(theta) + 1.0


def test_model_with_a_prior_of_its_own():
    """As ProspectorHyperParams: its methods are called, vector by vector."""
    model = Correlated(TemplateLibrary["alpha"])
    (compiled,) = compile_priors(model)
    assert compiled.rows and compiled.joint
    u = np.random.default_rng(4).random((8, model.ndim))
    theta = prior_draws([compiled], u)
    np.testing.assert_array_equal(theta, [model.prior_transform(row) for row in u])
    density = compiled.log_density(theta)
    np.testing.assert_array_equal(density, [model._prior_product(t) for t in theta])
    assert set(ranges(model)) == set(model.theta_index)


def test_hyperparameters():
    """ProspectorHyperParams 1.4.1 fails on NumPy >= 2.4 by itself: one sentence, or the draws."""
    model = HyperSpecModel(TemplateLibrary["stochastic_sfh"])
    u = np.random.default_rng(4).random((8, model.ndim))
    try:
        want = np.array([model.prior_transform(row) for row in u])
    except (TypeError, ValueError):
        with pytest.raises(ModelMismatchError, match=r"HyperSpecModel\.prior_transform fails"):
            compile_priors(model)
    else:
        np.testing.assert_array_equal(prior_draws(compile_priors(model), u), want)


def test_ranges():
    """Quantiles of each prior; joint ones from draws."""
    params = {
        "a": {"N": 1, "isfree": True, "init": 0.0, "prior": prospector.Normal(mean=0, sigma=2)},
        "b": {"N": 3, "isfree": True, "init": np.ones(3),
              "prior": prospector.TopHat(mini=0.0, maxi=np.arange(1.0, 4.0))},
        "c": {"N": 2, "isfree": True, "init": np.zeros(2), "prior": priors.MassMet(**MASS_MET)},
    }  # fmt: skip
    model = SpecModel(params)
    got = ranges(model, q=1e-3)
    np.testing.assert_allclose(got["a"], stats.norm(0, 2).ppf([[1e-3], [1 - 1e-3]]), rtol=1e-10)
    np.testing.assert_allclose(got["b"][1], np.arange(1.0, 4.0) * (1 - 1e-3), rtol=1e-10)
    lo, hi = got["c"]
    assert np.all(lo <= [7.01, -1.9]) and np.all(hi >= [12.49, 0.18])
    again = ranges(compile_priors(model), q=1e-3)
    for name in got:
        np.testing.assert_array_equal(again[name], got[name])


def test_unit_draws():
    u = unit_draws(5, 256, 1e-3)
    assert u.shape == (256, 5) and u.min() == 1e-3 and u.max() == 1 - 1e-3
    np.testing.assert_array_equal(u[0], 1e-3)
    np.testing.assert_array_equal(u[-1], 1 - 1e-3)
    # Random corners, at least a quarter of the rows.
    assert np.isin(u, [1e-3, 1 - 1e-3]).all(axis=1).sum() >= 64
