"""The batched parameter map against Prospector's own set_parameters, row by row."""

import copy
import functools

import numpy as np
import pytest
from prospect.models import SpecModel, priors, transforms
from prospect.models.templates import (
    TemplateLibrary,
    adjust_continuity_agebins,
    adjust_dirichlet_agebins,
    adjust_stochastic_params,
)
from prospect.sources.constants import cosmo

from prospect_emu.errors import ModelMismatchError
from prospect_emu.model import model_params
from prospect_emu.prospector.parameter_map import FSPS, ParameterMap
from prospect_emu.prospector.transforms import VECTORISED

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*wrong length prior:RuntimeWarning",
    # Prospector's own numerics at the far ends of its priors.
    "ignore:(divide by zero|invalid value|overflow):RuntimeWarning",
)
HISTORIES = (
    "ssp", "parametric_sfh", "burst_sfh", "logm_sfh", "continuity_sfh", "continuity_flex_sfh",
    "continuity_psb_sfh", "dirichlet_sfh", "stochastic_sfh", "alpha", "beta",
)  # fmt: skip
ADDITIONS = ("dust_emission", "nebular", "igm", "agn")
SMALL = tuple(t for t in TemplateLibrary._entries if t not in HISTORIES)


def template(name, additions=(), zfree=False):
    if name == "burst_sfh":
        params = TemplateLibrary["parametric_sfh"]
        params.update(TemplateLibrary["burst_sfh"])
        params["fburst"]["isfree"] = params["fage_burst"]["isfree"] = True
    else:
        params = TemplateLibrary[name]
    for addition in additions:
        params.update(TemplateLibrary[addition])
    if zfree and "depends_on" not in params["zred"]:
        params["zred"]["isfree"] = True
    return params


def uniform_draws(model, n=16, seed=2):
    """Draws by Prospector's own prior_transform, not by the code under test."""
    u = np.random.default_rng(seed).random((n, model.ndim))
    return np.array([model.prior_transform(row) for row in u])


def reference(params, theta, times=1):
    """What Prospector makes of each vector, from a fresh model each time."""
    out = []
    for row in theta:
        model = SpecModel(copy.deepcopy(params))
        for _ in range(times):
            model.set_parameters(row)
        out.append(model.params)
    return out


def check(params, mapped=None, n=16, rtol=1e-10):
    """Map and Prospector agree to 1e-10: both are double precision, in other orders."""
    model = SpecModel(copy.deepcopy(params))
    theta = uniform_draws(model, n)
    mapped = ParameterMap(model) if mapped is None else mapped
    values = mapped(theta)
    assert set(values) == {*mapped.varying, *mapped.other}
    expected = reference(params, theta, times=2 if mapped.stale else 1)
    constant = mapped.fixed | mapped.settings
    assert set(values) | set(constant) == set(expected[0])
    assert not set(values) & set(constant)
    assert set(mapped.varying) <= FSPS and not set(mapped.other) & FSPS
    for name in expected[0]:
        want = np.array([row[name] for row in expected])
        if name in values:
            got = values[name]
            assert got.shape == (want[:, 0].shape if want.shape[1:] == (1,) else want.shape)
            np.testing.assert_allclose(got.reshape(want.shape), want, rtol=rtol, err_msg=name)
        else:
            for row in want:
                np.testing.assert_array_equal(np.reshape(constant[name], row.shape), row)
    return mapped


@pytest.mark.parametrize("zfree", [False, True])
@pytest.mark.parametrize("additions", [(), ADDITIONS], ids=["alone", "with all"])
@pytest.mark.parametrize("name", HISTORIES)
def test_templates(name, additions, zfree):
    """Each template with a history, to 1e-10 of set_parameters, all of it vectorised."""
    mapped = check(template(name, additions, zfree))
    assert mapped.row_by_row == () and mapped.cost == ""


@pytest.mark.parametrize("name", SMALL)
def test_small_templates(name):
    """Templates without a history: added to one that has it."""
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary[name])
    assert check(params, n=4).row_by_row == ()


def test_adjusted_templates():
    """Prospector's helpers that change the bins."""
    continuity = adjust_continuity_agebins(TemplateLibrary["continuity_sfh"], tuniv=5.0, nbins=9)
    dirichlet = adjust_dirichlet_agebins(
        TemplateLibrary["dirichlet_sfh"], agelims=[0.0, 7.5, 8.5, 9.0, 9.5, 10.0]
    )
    stochastic = adjust_stochastic_params(TemplateLibrary["stochastic_sfh"])
    for params, nbin in ((continuity, 9), (dirichlet, 5), (stochastic, 8)):
        mapped = check(params)
        assert mapped.fixed["agebins"].shape == (nbin, 2)
        assert mapped.row_by_row == ()


@pytest.mark.parametrize("zred", [None, 1.2])
def test_preset(zred):
    """The 18-parameter model."""
    mapped = check(model_params(zred=zred))
    assert mapped.row_by_row == ()
    assert ("agebins" in mapped.varying) == (zred is None)
    if zred is not None:
        assert mapped.fixed["agebins"].shape == (7, 2) and mapped.fixed["zred"] == zred


def copied_masses(logmass=None, logsfr_ratios=None, agebins=None, **extras):
    nbins = agebins.shape[0]
    sratios = 10**np.clip(logsfr_ratios, -10, 10)  # fmt: skip
    dt = 10 ** agebins[:, 1] - 10 ** agebins[:, 0]
    coeffs = np.array(
        [
            (1.0 / np.prod(sratios[:i])) * (np.prod(dt[1 : i + 1]) / np.prod(dt[:i]))
            for i in range(nbins)
        ]
    )
    m1 = (10**logmass) / coeffs.sum()
    return m1 * coeffs


def other_masses(logmass=None, logsfr_ratios=None, agebins=None, **extras):
    """Not Prospector's: ratios are clipped at a tenth."""
    return copied_masses(logmass, np.clip(logsfr_ratios, -0.1, 0.1), agebins)


def bins_of_a_user(zred=None, nbins_sfh=5, **extras):
    tuniv = cosmo.age(zred[0]).value * 1e9
    if zred[0] > 2.0:
        edges = [0, 7.0, 8.0, 8.5, np.log10(0.8 * tuniv), np.log10(tuniv)]
    else:
        edges = [0, 7.5, 8.0, 9.0, np.log10(0.9 * tuniv), np.log10(tuniv)]
    return np.array([edges[:-1], edges[1:]]).T


class Ratio:
    """A transform that is an object."""

    def __init__(self, factor):
        self.factor = factor

    def __call__(self, dust2=0.0, **extras):
        return self.factor * dust2


def user_model(**depends_on):
    params = TemplateLibrary["continuity_sfh"]
    adjust_continuity_agebins(params, nbins=5)
    params["zred"]["isfree"] = True
    for name, function in depends_on.items():
        entry = params.setdefault(name, {"N": 1, "init": 0.0})
        entry.pop("prior", None)
        entry |= {"isfree": False, "depends_on": function}
    return params


def test_lambdas_run_in_batches():
    """Elementwise functions and picks of one element, called once a batch."""
    params = user_model(
        dust1=lambda dust2, **k: 0.5 * dust2**2,
        gas_logz=lambda logzsol=0.0, **k: np.minimum(logzsol + 0.1, 0.0),
        tage=lambda logsfr_ratios, **k: logsfr_ratios[1] + 2.0,
        duste_gamma=Ratio(0.1),
        fagn=functools.partial(lambda power, dust2, **k: dust2**power, power=3),
    )
    assert check(params).row_by_row == ()


def test_copies_and_partials_of_known_transforms():
    params = user_model(
        mass=copied_masses,
        agebins=transforms.zred_to_agebins_pbeta,
        dust1=functools.partial(transforms.dustratio_to_dust1, dust_ratio=0.7),
    )
    params = {"agebins": params.pop("agebins"), **params}
    mapped = check(params)
    assert mapped.row_by_row == () and mapped.stale == ()


def test_unknown_functions_run_row_by_row():
    """Branches on one vector and other constants: never vectorised, named with their cost."""
    params = user_model(mass=other_masses, agebins=bins_of_a_user)
    params = {"agebins": params.pop("agebins"), **params}
    mapped = check(params)
    assert set(mapped.row_by_row) == {"mass", "agebins"}
    assert "other_masses" in mapped.cost and "bins_of_a_user" in mapped.cost
    assert mapped.cost.count("us") >= 2


def test_unknown_function_of_what_is_fixed_runs_once():
    calls = []

    def bins(zred=None, **extras):
        calls.append(1)
        return bins_of_a_user(zred)

    params = user_model(agebins=bins)
    params["zred"] |= {"isfree": False, "init": 0.7}
    mapped = ParameterMap(SpecModel(params))
    before = len(calls)
    mapped(uniform_draws(SpecModel(params)))
    assert len(calls) == before
    assert "agebins" in mapped.fixed and mapped.row_by_row == ()


def test_rare_branch_is_not_vectorised():
    """True for all draws but one in 10^6: no check on draws could see the difference."""

    def rare(dust2, **extras):
        return -1.0 if dust2 > 1.999998 else dust2

    def hidden(dust2, **extras):
        return rare(dust2) + np.any(dust2 > 1.999998)

    params = user_model(dust1=rare, dust3=hidden)
    model = SpecModel(params)
    mapped = ParameterMap(model)
    assert set(mapped.row_by_row) == {"dust1", "dust3"}
    theta = uniform_draws(model)
    theta[3, model.theta_index["dust2"]] = 1.999999
    assert mapped(theta)["dust1"][3] == -1.0


def test_order_of_dependencies():
    """A mass before its age bins: Prospector's has the bins of the vector before."""
    params = user_model(agebins=transforms.zred_to_agebins_pbeta)
    assert list(params).index("mass") < list(params).index("agebins")
    mapped = check(params)
    assert mapped.stale == ("mass",)
    ordered = {"agebins": params.pop("agebins"), **params}
    again = check(ordered)
    assert again.stale == ()
    theta = uniform_draws(SpecModel(ordered))
    np.testing.assert_allclose(again(theta)["mass"], mapped(theta)["mass"], rtol=1e-12)


def test_chain_of_dependencies():
    params = user_model(
        dust1=lambda dust2, **k: 2.0 * dust2,
        dust3=lambda dust1, **k: dust1 + 1.0,
        dust_index=lambda dust3, dust1, **k: dust3 * dust1,
    )
    mapped = check(params)
    assert mapped.row_by_row == ()


def test_free_parameter_with_a_transform():
    """Prospector overwrites it; so do we."""
    params = user_model()
    params["logzsol"]["depends_on"] = lambda dust2, **k: -dust2
    values = check(params, n=4)(np.full((2, SpecModel(params).ndim), 0.3))
    np.testing.assert_array_equal(values["logzsol"], -0.3)


def test_own_set_parameters():
    """A subclass that computes something by itself is called for each vector."""

    class Own(SpecModel):
        def set_parameters(self, theta):
            super().set_parameters(theta)
            self.params["dust1"] = 3.0 * self.params["dust2"]

    params = user_model()
    params["dust1"] = {"N": 1, "isfree": False, "init": 0.0}
    model = Own(params)
    mapped = ParameterMap(model)
    theta = uniform_draws(model)
    values = mapped(theta)
    np.testing.assert_allclose(values["dust1"], 3.0 * values["dust2"], rtol=1e-14)
    assert "Own.set_parameters" in mapped.cost


def test_state_is_left_alone():
    params = user_model(mass=other_masses, agebins=bins_of_a_user)
    model = SpecModel(params)
    theta = uniform_draws(model)
    model.set_parameters(theta[0])
    before, identity = copy.deepcopy(model.params), id(model.params)
    arrays = dict(model.params)
    mapped = ParameterMap(model)
    first = {k: v.copy() for k, v in mapped(theta).items()}
    mapped.ranges(n=64)
    second = mapped(theta)
    assert id(model.params) == identity and set(model.params) == set(before)
    for name, value in before.items():
        np.testing.assert_array_equal(model.params[name], value)
        assert model.params[name] is arrays[name]
    for name in first:
        np.testing.assert_array_equal(first[name], second[name])
    # Not even a change of the model afterwards shows.
    model.params["zred"] = np.array([9.0])
    for name, value in mapped(theta).items():
        np.testing.assert_array_equal(value, first[name])


def test_value_error_is_nan():
    """Prospector counts a ValueError as an impossible vector."""

    def picky(dust2, **extras):
        if dust2 > 1.9:
            raise ValueError("too dusty")
        return dust2

    model = SpecModel(user_model(dust1=picky))
    theta = uniform_draws(model)
    theta[2, model.theta_index["dust2"]] = 1.95
    dust1 = ParameterMap(model)(theta)["dust1"]
    dusty = theta[:, model.theta_index["dust2"].start] > 1.9
    assert np.isnan(dust1[dusty]).all() and np.isfinite(dust1[~dusty]).all()


def test_failing_transform_is_named():
    def broken(dust2, **extras):
        raise KeyError("nothing")

    with pytest.raises(ModelMismatchError, match=r"transform of 'dust1' fails.*KeyError"):
        ParameterMap(SpecModel(user_model(dust1=broken)))


def test_shape_of_theta_is_checked():
    mapped = ParameterMap(SpecModel(user_model()))
    with pytest.raises(ModelMismatchError, match="free parameters"):
        mapped(np.zeros(mapped.ndim))


def test_ranges():
    """Ranges hold what draws give, corners of the prior included."""
    params = template("alpha", zfree=True)
    model = SpecModel(params)
    mapped = ParameterMap(model)
    ranges = mapped.ranges()
    assert set(ranges) == {*mapped.varying, *mapped.other}
    lo, hi = ranges["dust1"]
    # The product of dust2 in (0, 4) and dust_ratio in (0, 2), corners at 1e-4.
    assert 0.0 <= lo < 1e-2 and 7.0 < hi < 8.5
    for name, value in mapped(uniform_draws(model, 100)).items():
        lo, hi = ranges[name]
        assert np.all(value >= lo - 1e-3 * abs(lo)) and np.all(value <= hi * 1.001), name


@pytest.mark.parametrize("prior", [priors.Normal(mean=0.3, sigma=0.1), priors.StudentT(
    mean=0.3, scale=0.1, df=3)])  # fmt: skip
def test_unbounded_priors(prior):
    params = user_model(dust1=lambda dust2, **k: 2.0 * dust2)
    params["dust2"]["prior"] = prior
    mapped = check(params)
    lo, hi = mapped.ranges()["dust1"]
    assert np.isfinite([lo, hi]).all() and lo < 0.6 < hi


def test_zred_to_agebins():
    """Prospector's fails for arrays with NumPy 2, as models call it; by numbers it is right."""
    bins = np.array([[0.0, 7.5], [7.5, 8.0], [8.0, 9.0], [9.0, 9.5], [9.5, 10.0]])
    zred = np.array([0.01, 0.5, 3.0, 7.0])
    want = [transforms.zred_to_agebins(zred=float(z), agebins=bins) for z in zred]
    got = VECTORISED[transforms.zred_to_agebins](zred[:, None], bins[None])
    np.testing.assert_allclose(got, want, rtol=1e-12)


def own_bins(zred=None, nbins=7, **extras):
    """Bins that change their form at z = 3, as in several surveys' scripts."""
    tuniv = float(np.squeeze(cosmo.age(zred).to("yr").value))
    if np.squeeze(zred) <= 3.0:
        edges = [0.0, np.log10(3e7), *np.linspace(8.0, np.log10(0.85 * tuniv), nbins - 2)]
    else:
        edges = [0.0, *np.linspace(7.0, np.log10(0.9 * tuniv), nbins)[1:]]
    edges.append(np.log10(tuniv))
    return np.array([edges[:-1], edges[1:]]).T


def own_masses(massmet=None, logsfr_ratios=None, zred=None, **extras):
    agebins = own_bins(zred=zred, **extras)
    return copied_masses(massmet[0], logsfr_ratios, agebins)


def masses_of_bins(massmet=None, logsfr_ratios=None, agebins=None, **extras):
    return copied_masses(massmet[0], logsfr_ratios, agebins)


def narrow_masses(massmet=None, logsfr_ratios=None, zred=None, **extras):
    return copied_masses(massmet[0], np.clip(logsfr_ratios, -3, 3), own_bins(zred=zred))


def survey_model(masses, zfree):
    params = adjust_continuity_agebins(TemplateLibrary["continuity_sfh"])
    del params["logmass"]
    prior = priors.TopHat(mini=np.array([7.0, -1.9]), maxi=np.array([12.0, 0.19]))
    params["massmet"] = {"N": 2, "isfree": True, "init": np.array([10.0, -0.5]), "prior": prior}
    params["logzsol"] |= {"isfree": False, "depends_on": lambda massmet, **extras: massmet[1]}
    params["zred"] |= {"isfree": zfree, "init": 1.1, "prior": priors.TopHat(mini=0.1, maxi=9.0)}
    params["agebins"]["depends_on"] = own_bins
    params["mass"]["depends_on"] = masses
    return params


@pytest.mark.parametrize("masses", [own_masses, masses_of_bins])
@pytest.mark.parametrize("zfree", [False, True])
def test_own_bins_and_masses_are_recognised(masses, zfree):
    """What most scripts write again: vectorised by what it does, to 1e-10 on 100 draws."""
    params = survey_model(masses, zfree)
    # Bins are computed before the masses in them.
    params = {"agebins": params.pop("agebins"), **params}
    mapped = check(params, n=100)
    assert mapped.row_by_row == () and mapped.stale == ()
    if zfree:
        model = SpecModel(params)
        theta = uniform_draws(model, 3)
        theta[:, model.theta_index["zred"]] = np.array([[3.0], [3.0 + 1e-8], [3.0 - 1e-8]])
        want = np.array([row["agebins"] for row in reference(params, theta)])
        np.testing.assert_allclose(mapped(theta)["agebins"], want, rtol=1e-10)


@pytest.mark.parametrize("zfree", [False, True])
def test_other_masses_are_not_recognised(zfree):
    """Ratios clipped at 3, which one draw in a hundred reaches."""
    mapped = check(survey_model(narrow_masses, zfree), n=100)
    assert mapped.row_by_row == ("mass",)
