"""Rest-frame magnitudes against Prospector's own."""

import numpy as np
import pytest
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary

from prospect_emu import EmulatorSPS
from prospect_emu.errors import FilterError
from prospect_emu.fit.restframe import RestFrame, columns_of
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.tables import make_obs
from prospect_emu.prospector.batched_priors import compile_priors, prior_draws
from prospect_emu.prospector.mathews23 import model_params


def test_names():
    assert list(columns_of(["UVJ", "M_UV"])) == [
        "rest_bessell_U", "rest_bessell_V", "rest_twomass_J", "rest_bessell_U-bessell_V",
        "rest_bessell_V-twomass_J", "M_UV",
    ]  # fmt: skip
    with pytest.raises(FilterError, match="did you mean"):
        columns_of(["bessell_U-bessel_V"])


@pytest.mark.parametrize("name", ["nebular", "mathews23"])
def test_against_prospector(name):
    """`absolute_rest_maggies` of SpecModel, of whole spectra at a redshift of 2, lines included.

    2e-4 mag: the compiled bands are within 1e-4 of whole spectra.
    """
    params = TemplateLibrary["parametric_sfh"] | TemplateLibrary["nebular"]
    params["zred"]["init"] = 2.0
    model = SpecModel(model_params(zred=2.0) if name == "mathews23" else params)
    sps, obs = EmulatorSPS(), make_obs(["wfc3_ir_f160w"], [1.0], [1.0], 2.0)
    theta = prior_draws(compile_priors(model), np.random.default_rng(1).random((4, model.ndim)))
    got = RestFrame(model, sps, ["UVJ", "M_UV", "sdss_r0"])(theta)
    bands = ["bessell_U", "bessell_V", "twomass_J", "uv1500", "sdss_r0"]
    filters = load_filters(bands)
    for i, row in enumerate(theta):
        model.predict(row, obs, sps)
        u, v, j, uv, r = -2.5 * np.log10(model.absolute_rest_maggies(filters))
        want = [u, v, j, u - v, v - j, uv, r]
        np.testing.assert_allclose([c[i] for c in got.values()], want, atol=2e-4)
