"""Packaging of the factored emulator, with its own fluxes in place of FSPS's samples."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest

from prospect_emu import load_emulator
from prospect_emu.errors import ProspectEmuError
from prospect_emu.training import factored_tables
from prospect_emu.training.recipe import Recipe, draw_parameters

RECIPE = Recipe(filters=("acs_wfc_f814w", "wfc3_ir_f160w", "spitzer_mips_24"))


@pytest.fixture(scope="module")
def store():
    emulator = load_emulator("mathews23-factored").select(RECIPE.filters)
    theta = draw_parameters(RECIPE, 40, (3,))
    samples = {"theta": theta, "maggies": emulator.maggies(theta), "mfrac": emulator.mfrac(theta)}
    manifest = {"versions": emulator.manifest["versions"]}
    return SimpleNamespace(
        recipe=RECIPE, manifest=manifest, fingerprint="here", load=lambda: samples
    )


def test_errors_are_those_of_the_folding(store, monkeypatch, tmp_path):
    """Against its own spectra nothing else is left; folding is good to 1e-3 of the flux."""
    few = partial(factored_tables.folding_residuals, n_redshift=2, n_each=20)
    monkeypatch.setattr(factored_tables, "folding_residuals", few)
    ingredients = factored_tables.ingredients_of(store)
    made = factored_tables.build(ingredients, store, "mine", "PARSEC/CK04")
    assert made.manifest["test"]["samples"] == 40 and made.libraries == "PARSEC/CK04"
    np.testing.assert_allclose(np.diag(made.covariance), made.sigma_mag**2)
    assert (made.sigma_mag > 0.0).all() and made.sigma_mag.max() < 1e-3
    made.save(tmp_path / "mine.safetensors")
    theta = store.load()["theta"]
    back = load_emulator(tmp_path / "mine.safetensors")
    np.testing.assert_allclose(back.maggies(theta), store.load()["maggies"], rtol=1e-12)


def test_other_libraries_are_refused(store):
    ingredients = factored_tables.ingredients_of(store)
    other = ingredients.manifest | {"libraries": ["mist", "miles", "DL07"]}
    with pytest.raises(ProspectEmuError, match="make one of them again"):
        factored_tables.build(replace(ingredients, manifest=other), store, "mine")
