"""Posteriors that sampling calls converged and that are not to be trusted."""

from types import SimpleNamespace

import numpy as np
import pytest
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary

from prospect_emu.fit.quality import effective_size, problems


@pytest.fixture
def model():
    return SpecModel(TemplateLibrary["ssp"])


def photometry(chi2, bands=5):
    mask = np.ones(bands, dtype=bool)
    return SimpleNamespace(mask=mask, upper_limits=~mask, chi2=chi2)


def draws(model, n=400):
    u = np.random.default_rng(0).random((n, model.ndim))
    return np.array([model.prior_transform(row) for row in u]), np.full(n, 1.0 / n)


def test_nothing_is_wrong(model):
    assert problems(model, *draws(model), photometry(6.0)) == []


def test_units_that_are_off(model):
    """chi2 of 1470 for five bands, as Jy for uJy gave it."""
    (text,) = problems(model, *draws(model), photometry(1470.0))
    assert "1470 for 5 bands" in text and "units" in text


def test_edge_of_the_prior(model):
    samples, weights = draws(model)
    mass = model.theta_index["mass"].start
    samples[:300, mass] = 1.001e8  # the prior begins at 1e8
    (text,) = problems(model, samples, weights, photometry(6.0))
    assert text.endswith("in mass")


def test_copies_count_once(model):
    samples, weights = draws(model)
    assert effective_size(samples, weights) == pytest.approx(400)
    samples[:300] = samples[0]
    # One sample of weight 3/4 and a hundred of 1/400.
    assert effective_size(samples, weights) == pytest.approx(1 / (0.75**2 + 100 / 400**2))
    (text,) = problems(model, samples, weights, photometry(6.0))
    assert "of 400 effective samples 2 are not copies" in text


def test_a_spectrum_that_is_not_reached(model):
    """Residuals of 2 sigma in 100 pixels; errors that the model may widen are not judged."""
    one = np.ones(100)
    spectrum = {"flux": 3.0 * one, "best": one, "unc": one, "mask": one > 0.0}
    (text,) = problems(model, *draws(model), photometry(6.0), spectrum=spectrum)
    assert "chi2 of the best sample is 400 for 100 pixels" in text
    model.params["spec_jitter"] = one[:1]
    assert problems(model, *draws(model), photometry(6.0), spectrum=spectrum) == []
