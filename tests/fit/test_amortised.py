"""What a learnt proposal does not take: a reason for nested sampling, or an error."""

from types import SimpleNamespace

import numpy as np
import pytest

from prospect_emu.errors import ModelMismatchError
from prospect_emu.fit.amortised import attempt
from prospect_emu.fit.likelihood import Gaussian, Independent

BANDS = ["sdss_g0", "sdss_r0", "sdss_i0"]
PROPOSAL = SimpleNamespace(
    manifest={"name": "p", "bands": BANDS, "labels": ["logmass"], "zred_range": [0.5, 3.0]}
)


def tried(likelihood=None, labels=("logmass",), params=None, free=(), bands=BANDS, **data):
    flux = np.ones(3)
    posterior = SimpleNamespace(labels=list(labels), likelihood=likelihood or Gaussian(flux, flux))
    model = SimpleNamespace(params={"zred": np.array([1.0])} | (params or {}), theta_index=free)
    data |= {"filters": list(bands), "phot_mask": flux > 0}
    return attempt(posterior, data, model, PROPOSAL, 1)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"likelihood": Independent(np.ones(3), np.ones(3), np.ones(3) > 0)}, "Gaussian"),
        ({"spectrum": np.ones(9)}, "a spectrum is fitted"),
        ({"params": {"magnification": np.array([5.0])}}, "magnified"),
        ({"params": {"zred": np.array([4.0])}}, "redshift 4 is not within 0.5 to 3"),
        ({"free": {"zred": slice(0, 1)}}, "redshift is free"),
    ],
)
def test_the_rest_is_left_to_nested_sampling(given, reason):
    made = tried(**given)
    assert made.results is None and made.diagnostics["amortised"]["verdict"] == "refit"
    assert reason in made.diagnostics["amortised"]["reason"]


def test_others_bands_and_parameters_are_refused():
    with pytest.raises(ModelMismatchError, match="not trained for the bands sdss_z0"):
        tried(bands=["sdss_g0", "sdss_r0", "sdss_z0"])
    with pytest.raises(ModelMismatchError, match="not trained for free zred;"):
        tried(labels=("logmass", "zred"))
    with pytest.raises(ModelMismatchError, match="a model without free logmass;"):
        tried(labels=())
