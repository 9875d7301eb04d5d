"""Settings of a run that mean nothing are refused before it begins, with their names."""

import numpy as np
import pytest

from prospect_emu.errors import ProspectEmuError
from prospect_emu.fit.fitting import parse_keywords
from prospect_emu.sampling.settings import NestedSettings

BUDGETS = [f"max{what}{part}" for what in ("call", "iter") for part in ("", "_init", "_batch")]


@pytest.mark.parametrize("value", [0, -1])
@pytest.mark.parametrize("name", ["nlive_init", "nlive_batch", "walks", "max_runs", *BUDGETS])
def test_numbers_below_the_lowest(name, value):
    """dynesty takes a budget of 0 calls for none at all."""
    with pytest.raises(ProspectEmuError, match=f"{name} = {value} is too small"):
        NestedSettings(**{name: value})


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
@pytest.mark.parametrize("name", ["dlogz_init", "max_error", "update_interval", "forget", "facc"])
def test_numbers_that_are_none(name, value):
    with pytest.raises(ProspectEmuError, match=f"{name} = .* (positive number|between 0 and 1)"):
        NestedSettings(**{name: value})


@pytest.mark.parametrize(
    "given",
    [
        {"maxbatch": -1}, {"bootstrap": 1}, {"bootstrap": -1}, {"first_update": 3},
        {"stop_kwargs": 5}, {"weight_kwargs": None}, {"live_points": 3}, {"sample": 3},
    ],
)  # fmt: skip
def test_settings_of_another_type(given):
    with pytest.raises(ProspectEmuError, match=next(iter(given))):
        NestedSettings(**given)


def test_good_ones_are_taken():
    settings = NestedSettings(maxbatch=0, maxcall=1, bootstrap=2, forget=None, bound=None)
    assert settings.maxcall == 1


@pytest.mark.parametrize("preset", ["fast", ["quick"], 3])
def test_presets_that_are_none(preset):
    with pytest.raises(ProspectEmuError, match="is unknown; use quick, standard, careful"):
        parse_keywords({"preset": preset})


def test_a_setting_without_its_prefix():
    """Left out with a warning, the run would go on with another budget."""
    with pytest.raises(ProspectEmuError, match="did you mean nested_max_error"):
        parse_keywords({"max_error": 0.1})
