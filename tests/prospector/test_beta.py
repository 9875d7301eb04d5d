"""Prospector-beta as templates, and its priors in corrected form."""

import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
from astropy.cosmology import WMAP9
from prospect.models import SpecModel
from prospect.models import priors_beta as beta
from scipy.integrate import quad

from prospect_emu.errors import ModelMismatchError
from prospect_emu.fit.one_galaxy import prepare
from prospect_emu.prospector.batched_priors import compile_priors
from prospect_emu.prospector.beta_corrected import CorrectedBeta, beta_form, corrected
from prospect_emu.prospector.parameter_file import ParameterFile
from prospect_emu.prospector.templates import template_params

MASS_MET = {"mass_mini": 7.0, "mass_maxi": 12.5, "z_mini": -1.98, "z_maxi": 0.19}
HISTORY = {
    "logsfr_ratio_mini": -5.0, "logsfr_ratio_maxi": 5.0, "logsfr_ratio_tscale": 0.3, "nbins_sfh": 7
}  # fmt: skip
ZRED = {"zred_mini": 0.001, "zred_maxi": 20.0}
BOUNDS = [7.0, 12.5]


@pytest.fixture(scope="module")
def prior():
    return corrected(beta.NzSFH(const_phi=False, **ZRED, **MASS_MET, **HISTORY))


def _number(zred, upto=12.5):
    """Integral of Prospector's mass function by scipy's quadrature."""
    return quad(
        lambda m: float(beta.mass_func_at_z(zred, m, False, BOUNDS)), 7.0, upto, epsrel=1e-8
    )[0]


def test_number_of_galaxies(prior):
    """p(z) is the comoving volume times the mass function's integral between the prior's limits.

    To 2e-4: trapezia of 0.0055 dex at the mass function's knee.
    """
    zred = np.array([0.002, 0.3, 1.1, 3.4, 6.0, 9.7, 14.0, 19.9])
    x = np.full((zred.size, 9), 0.0)
    x[:, 0], x[:, 1] = zred, 9.0
    got = prior(x)[:, 0]
    volume = WMAP9.differential_comoving_volume(zred).value
    want = np.log([_number(z) * v for z, v in zip(zred, volume, strict=True)])
    np.testing.assert_allclose(got - got[2], want - want[2], atol=2e-4)


def test_masses(prior):
    """Masses at probabilities u, and their density, against the same quadrature."""
    u = np.random.default_rng(2).random((12, 9))
    values = prior.unit_transform(u)
    for row, (zred, mass) in zip(u, values[:, :2], strict=True):
        assert _number(zred, mass) / _number(zred) == pytest.approx(row[1], abs=2e-4)
    want = [beta.mass_func_at_z(z, m, False, BOUNDS) / _number(z) for z, m in values[:, :2]]
    np.testing.assert_allclose(np.exp(prior(values)[:, 1]), want, rtol=3e-4)


def test_histories_in_the_galaxys_own_time():
    """Bins start at the galaxy: here one of 10^9.6 Msun, whose history is not shifted in time."""
    now = WMAP9.lookback_time(1.3).to_value("yr")
    end = WMAP9.lookback_time(15).to_value("yr") - now
    edges = now + np.append([0.0, 3e7], np.append(np.geomspace(1.3e8, 0.9 * end, 5), end))
    rate = [beta.spl_tl_sfrd.integral(a, b) / (b - a) for a, b in itertools.pairwise(edges)]
    released = beta.DymSFHfixZred(zred=1.3, const_phi=True, **MASS_MET, **HISTORY)
    # Medians are the expected ratios.
    u = np.array([0.5, (9.6 - 7.0) / 5.5, *[0.5] * 7])
    # 1e-4: Prospector finds the redshift of an age by a straight line in a table.
    want = np.log10(np.divide(rate[:-1], rate[1:]))
    np.testing.assert_allclose(corrected(released).unit_transform(u)[3:], want, atol=1e-4)
    assert np.abs(released.unit_transform(u)[3:] - want).max() > 0.1


@pytest.mark.parametrize("kind", ["PhiMet", "ZredMassMet", "DymSFH", "PhiSFH", "PhiSFHfixZred"])
def test_every_prior_has_a_corrected_form(kind):
    given = dict(MASS_MET) if kind.endswith("Met") else MASS_MET | HISTORY
    given |= {"zred": 4.0} if kind.endswith("fixZred") else ZRED
    prior = corrected(getattr(beta, kind)(const_phi=True, **given))
    model = SpecModel({"x": {"N": len(prior), "isfree": True, "init": np.zeros(len(prior)),
                             "prior": prior}})  # fmt: skip
    (compiled,) = compile_priors(model)
    assert not compiled.rows and beta_form(model) == f"corrected {kind}"
    u = np.random.default_rng(5).random((400, len(prior)))
    x = compiled.quantile(u)
    np.testing.assert_array_equal(x, np.array([prior.unit_transform(row) for row in u]))
    np.testing.assert_allclose(compiled.quantile(compiled.inverse(x)), x, atol=1e-8)
    np.testing.assert_allclose(compiled.log_density(x), prior(x).sum(axis=1), rtol=1e-12)
    np.testing.assert_array_equal(prior(x + 100.0)[:, 1], -np.inf)
    again = pickle.loads(pickle.dumps(prior, protocol=2))  # as Prospector's files hold it
    np.testing.assert_array_equal(again.unit_transform(u[:3]), x[:3])


def test_a_parameter_file_whose_redshift_is_free_by_its_own_prior():
    path = Path(__file__).parent / "scripts" / "uncover_beta.py"
    assert beta_form(ParameterFile(path, ()).model_at(None)) == "released NzSFH"


def test_templates():
    params, _ = template_params("uncover", zred_prior="model")
    assert params["nzsfh"]["prior"].range[0] == (0.001, 20.0)
    params, _ = template_params("beta_corrected+igm", 2.0)
    assert isinstance(params["nzsfh"]["prior"], CorrectedBeta)
    assert params["nzsfh"]["prior"].params["zred"] == 2.0 == params["nzsfh"]["init"][0]
    with pytest.raises(ModelMismatchError, match="no prior of its redshift"):
        template_params("alpha", zred_prior="model")
    with pytest.raises(ModelMismatchError, match="no prior of its redshift"):
        prepare(None, "free", zred_prior="model")
    _, model, _ = prepare(None, "free", "uncover_corrected")
    assert beta_form(model) == "corrected PhiSFH"
    with pytest.raises(ModelMismatchError, match="no prior of Prospector-beta"):
        corrected(None)
