"""Bad input is refused or told of in one sentence: drop-in, batched, run and describe alike."""

import json

import numpy as np
import pytest
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from sedpy.observate import load_filters

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.commands import cli
from prospect_emu.errors import ProspectEmuError
from prospect_emu.parameters import PARAMETERS, misspelt

# Template, what is fixed, and words of the sentence: what, and what to do.
REFUSED = [
    ("ssp", {"logzsoll": 0.1}, "'logzsoll' is not a parameter", "write 'logzsol'"),
    ("continuity_sfh", {"add_dust_emision": True}, "'add_dust_emision' is no", "add_dust_emission"),
    ("ssp", {"imf_type": 4}, "ingredients with imf_type=4", "prospect-emu ingredients imf"),
    ("ssp", {"use_wr_spectra": 0}, "use_wr_spectra=0", "prospect-emu ingredients use_wr"),
    ("ssp", {"tpagb_norm_type": 0}, "tpagb_norm_type=0", "prospect-emu ingredients tpagb"),
    ("ssp", {"dell": 0.2}, "dell=0.2", "prospect-emu ingredients dell=0.2"),
    ("ssp", {"imf_type": 1, "imf_upper_limit": 300.0}, "imf_upper_limit=300",
     "ingredients imf_type=1 imf_upper"),
    ("ssp", {"fbhb": 0.1}, "fbhb=0.1", "prospect-emu ingredients fbhb=0.1"),
    ("ssp", {"sbss": 0.1}, "sbss=0.1", "prospect-emu ingredients sbss=0.1"),
    ("continuity_sfh", {"agebins": [[0, 8], [7.9, 9], [9, 10]]}, "1 and 2 overlap", "let each"),
    ("continuity_sfh", {"agebins": [[0, 8], [8.1, 9], [9, 10]]}, "leave a gap", "let each"),
    ("continuity_sfh", {"agebins": [[9, 10], [8, 9], [0, 8]]}, "not in order", "youngest first"),
    ("continuity_sfh", {"agebins": [[0, 8], [8, 9], [9, 10.5]]}, "to 31.6 Gyr", "end the bins"),
    ("ssp", {"dust_type": 7}, "dust_type is 7", "4 (kriek_conroy)"),
    ("ssp", {"dust_type": 3, "wgp1": 19}, "wgp1 is 19", "1 to 18"),
    ("ssp", {"dust_type": 3, "wgp2": 0}, "wgp2 is 0", "1 to 6"),
    ("ssp", {"dust_type": 3, "wgp3": 1.5}, "wgp3 is 1.5", "whole number"),
    ("ssp", {"dust_type": 1, "uvb": -1.0}, "uvb is -1", "FSPS allows"),
    ("ssp", {"dust_type": 1, "mwr": 0.0}, "mwr is not above zero", "such as 3.1"),
    ("ssp", {"frac_nodust": 1.2}, "frac_nodust is 1.2", "0 to 1"),
    ("ssp", {"frac_obrun": -0.1}, "frac_obrun is -0.1", "0 to 1"),
    ("ssp", {"dust_tesc": 5.0}, "dust_tesc is 5", "5.5 to inf"),
    ("ssp", {"dust_clumps": 1.0}, "dust_clumps is 1;", "-inf to 0"),
    ("ssp", {"duste_umin": 30.0}, "FSPS reads beyond the end of its table", "up to 25"),
    ("ssp", {"sfh": 2}, "sfh is 2", "0, 1, 4 and 5"),
    ("ssp", {"sfh": 4.5}, "sfh is 4.5", "4 and 5"),
    ("ssp", {"add_neb_emission": 2}, "add_neb_emission is 2", "True or False"),
    ("ssp", {"dust2": np.nan}, "dust2 is nan", "give a number"),
    ("ssp", {"imf_type": "kroupa"}, "imf_type is", "FSPS's number"),
    ("ssp", {"compute_light_ages": True}, "compute_light_ages is True", "only False"),
]  # fmt: skip
IDS = ["-".join(fixed) + f"-{i}" for i, (_, fixed, *_) in enumerate(REFUSED)]


def make_model(template, fixed, free=None):
    params = dict(TemplateLibrary[template])
    params["add_dust_emission"] = {"N": 1, "isfree": False, "init": True}
    for name, value in fixed.items():
        value = np.array(value)
        params[name] = {"N": value.size, "isfree": False, "init": value}
    for name, (low, high) in (free or {}).items():
        prior = priors.TopHat(mini=low, maxi=high)
        params[name] = {"N": 1, "isfree": True, "init": low, "prior": prior}
    return SpecModel(params)


def observation():
    return {
        "filters": load_filters(["sdss_g0"]), "maggies": np.ones(1), "maggies_unc": np.ones(1),
        "phot_mask": np.ones(1, dtype=bool), "wavelength": None, "spectrum": None,
    }  # fmt: skip


@pytest.fixture(autouse=True)
def no_own_ingredients(monkeypatch, tmp_path):
    monkeypatch.setenv("PROSPECT_EMU_INGREDIENTS", str(tmp_path))


def sentence(words, error):
    text = str(error.value)
    assert all(w in text for w in words) and "\n" not in text and text.endswith((".", "`."))


@pytest.mark.parametrize(("template", "fixed", "what", "todo"), REFUSED, ids=IDS)
def test_drop_in_and_batched(template, fixed, what, todo):
    model = make_model(template, fixed)
    with pytest.raises(ProspectEmuError) as error:
        BatchedPosterior(model, observation(), EmulatorSPS())
    sentence((what, todo), error)
    model.set_parameters(model.theta)
    # A misspelt name may be one that a transform reads, which the drop-in cannot see.
    params = {k: v for k, v in model.params.items() if k != misspelt(next(iter(fixed)))}
    with pytest.raises(ProspectEmuError) as error:
        EmulatorSPS().get_galaxy_spectrum(**params)
    sentence((what, todo), error)


def test_nothing_free():
    params = {k: dict(v, isfree=False) for k, v in TemplateLibrary["ssp"].items()}
    with pytest.raises(ProspectEmuError, match="no free parameters; set isfree"):
        BatchedPosterior(SpecModel(params), observation(), EmulatorSPS())
    # Switches alone, as one of the templates.
    assert cli.main(["describe", "type_defaults"]) == 0


SCRIPT = """
import json, numpy as np
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary
from sedpy.observate import load_filters

def build_obs(**extras):
    return {"filters": load_filters(["sdss_g0"]), "maggies": np.ones(1), "maggies_unc": np.ones(1),
            "phot_mask": np.ones(1, dtype=bool), "wavelength": None, "spectrum": None}

def build_model(**extras):
    params = dict(TemplateLibrary[TEMPLATE])
    params["add_dust_emission"] = {"N": 1, "isfree": False, "init": True}
    for name, value in json.loads(FIXED).items():
        value = np.array(value)
        params[name] = {"N": value.size, "isfree": False, "init": value}
    return SpecModel(params)
"""


@pytest.mark.parametrize("command", ["run", "describe"])
@pytest.mark.parametrize("case", [REFUSED[i] for i in (0, 2, 7, 9, 10, 12, 21)])
def test_command_line(command, case, tmp_path, capsys):
    """The same sentence on stderr, and exit status 2."""
    template, fixed, what, todo = case
    path = tmp_path / "params.py"
    text = SCRIPT.replace("[TEMPLATE]", f"[{template!r}]").replace("FIXED", repr(json.dumps(fixed)))
    path.write_text(text)
    out = ["--out", str(tmp_path / "out")] if command == "run" else []
    assert cli.main([command, str(path), *out]) == 2
    printed = capsys.readouterr().err
    assert what in printed and todo in printed and "Traceback" not in printed


def test_what_may_be_meant_is_told():
    """Once: names where the right one is there too, ages beyond the universe."""
    sps = EmulatorSPS()
    params = {"mass": 1.0, "tage": 13.0, "zred": 2.0, "imf_type": 1, "dust2": 0.0, "dust22": 0.1}
    with pytest.warns(UserWarning) as told:
        for _ in range(2):
            sps.get_galaxy_spectrum(**params)
    first, second = (str(w.message) for w in told)
    assert "'dust22' is not a parameter of FSPS; write 'dust2'" in first
    assert "the universe is 3.33 Gyr old at zred = 2" in second and "tage_from_tuniv" in second
    bins = {"agebins": [[0, 8], [8, 9], [9, 10]], "mass": [1.0, 1.0, 1.0], "zred": 2.0}
    with pytest.warns(UserWarning, match=r"from 1 to 10 Gyr, but the universe is 3.33 Gyr old"):
        EmulatorSPS().get_galaxy_spectrum(**bins)


def test_fixed_ages_beyond_the_universe():
    """Refused where no vector is possible; told where some are not."""
    sps, obs = EmulatorSPS(), observation()
    with pytest.raises(
        ProspectEmuError, match=r"tage is 13 Gyr, .* 3.33 Gyr old .*tage_from_tuniv"
    ):
        BatchedPosterior(make_model("ssp", {"tage": 13.0, "zred": 2.0}), obs, sps)
    with pytest.warns(UserWarning, match="tage reaches beyond the age of the universe"):
        BatchedPosterior(make_model("ssp", {"zred": 2.0}, {"tage": (0.1, 13.0)}), obs, sps)


@pytest.mark.parametrize(
    ("name", "low", "high", "words"),
    [("duste_umin", 0.1, 40.0, "FSPS reads beyond"), ("frac_nodust", 0.0, 1.5, "narrow its prior")],
)
def test_priors_beyond_the_tables(name, low, high, words):
    """Refused when the model is compiled; a prior that ends at the table's end is not."""
    with pytest.raises(ProspectEmuError, match=words):
        BatchedPosterior(make_model("ssp", {}, {name: (low, high)}), observation(), EmulatorSPS())
    end = {"duste_umin": 25.0, "frac_nodust": 1.0}[name]
    model = make_model("ssp", {"tage": 1.0}, {name: (low, end)})
    posterior = BatchedPosterior(model, observation(), EmulatorSPS())
    u = np.full((2, model.ndim), 0.5)
    u[:, model.free_params.index(name)] = 0.0, 1.0
    assert np.isfinite(posterior.log_likelihood(posterior.prior_transform(u))).all()


def test_names_that_transforms_read_are_no_misspellings():
    """Of transforms, of components, and of Prospector's templates."""
    params = dict(TemplateLibrary["ssp"])
    params["dust22"] = {"N": 1, "isfree": False, "init": 0.3}
    params["dust2"] = {
        "N": 1,
        "isfree": False,
        "init": 0.6,
        "depends_on": lambda dust22=None, **k: 2.0 * dust22,
    }
    BatchedPosterior(SpecModel(params), observation(), EmulatorSPS())
    names = {k for t in TemplateLibrary._entries for k in TemplateLibrary[t]}
    assert not [k for k in {*names, *PARAMETERS, "tau2", "logzsol_2", "lumdist"} if misspelt(k)]
    for wrong, right in (
        ("gas_logU", "gas_logu"), ("dust_2", "dust2"), ("duste_qpahh", "duste_qpah")
    ):  # fmt: skip
        assert misspelt(wrong) == right
