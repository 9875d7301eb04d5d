"""Files of ingredients: round trips, what they hold, how they are found, FSPS itself."""

from dataclasses import fields

import numpy as np
import pytest

from prospect_emu.errors import ModelFileError, SetupError
from prospect_emu.parameters import INGREDIENTS
from prospect_emu.sps import ingredients as ing
from prospect_emu.sps.ingredients import (
    BUNDLED,
    Ingredients,
    find_ingredients,
    read_ingredients,
    write_ingredients,
    write_shared,
)
from prospect_emu.sps.packing import pack, unpack
from prospect_emu.training.ingredient_tables import agb_difference, assemble

ARRAYS = [f.name for f in fields(Ingredients) if f.name not in ("line_names", "manifest")]


def same(a, b, tolerance):
    for name in ARRAYS:
        x, y = np.asarray(getattr(a, name), float), np.asarray(getattr(b, name), float)
        assert x.shape == y.shape, name
        if name == "neb_logcont":
            np.testing.assert_allclose(x, y, rtol=0, atol=tolerance / np.log(10.0), err_msg=name)
        else:
            floor = 1e-9 * np.abs(y).max() if name in ("stars_lnu", "dust_lnu") else 0.0
            np.testing.assert_allclose(x, y, rtol=tolerance, atol=floor, err_msg=name)


def test_packing():
    """Half a step: 7e-5 at the top, 2e-4 four decades down, 9e-4 ten down; zero below 20."""
    rng = np.random.default_rng(0)
    depth = rng.uniform(0.0, 25.0, (3, 40_000))
    depth[:, 0] = 0.0
    values = 10.0 ** (7.0 - depth)
    codes, top = pack(values)
    back = unpack(codes, top, np.float64)
    error = np.abs(back / values - 1.0)
    for limit, bound in ((0.1, 7.5e-5), (4.0, 2.0e-4), (10.0, 9e-4)):
        assert error[depth < limit].max() < bound
    assert np.all(back[depth > 20.0] == 0.0)
    codes, _ = pack(np.array([[1.0, -2.0, 0.0]]))
    assert codes.tolist() == [[65535, 0, 0]]


@pytest.mark.parametrize("shape", [{}, {"nwave": 1500, "ages": (5.2, 10.2, 0.03), "nz": 9}])
def test_round_trip(tmp_path, make_synthetic, shape):
    """A grid of any shape, whole and in two files: within the packing's 3e-4."""
    versions = {"libraries": ["toy", "grid", "grey"]}
    toy = assemble(make_synthetic(**shape), "toy", {"imf_type": 1}, versions=versions)
    write_ingredients(tmp_path / "whole.safetensors", toy)
    back = read_ingredients(tmp_path / "whole.safetensors")
    same(back, toy, 3e-4)
    assert back.line_names == toy.line_names and back.label == "toy"
    assert back.parameters["imf_type"] == 1
    assert back.manifest["zsol"] == 0.015
    write_shared(tmp_path / "rest.safetensors", toy)
    write_ingredients(tmp_path / "stars.safetensors", toy, shared="rest.safetensors")
    again = read_ingredients(tmp_path / "stars.safetensors")
    for name in ARRAYS:
        assert np.array_equal(getattr(again, name), getattr(back, name)), name
    assert again.line_names == toy.line_names
    # Negative templates (THEMIS beyond 4 mm) emit nothing, as in FSPS.
    assert back.dust_lnu.min() == 0.0


def test_agb_difference(tmp_path, make_synthetic, toy):
    """A smooth difference in two IMFs comes back within the stated 3e-4 of the light without."""
    tables = make_synthetic()
    rng = np.random.default_rng(4)
    wave = tables["wave"]
    hump = np.exp(-0.5 * (np.log(wave / 1e5) / 0.8) ** 2)
    spectra = {}
    for name in ("imf1", "imf2"):
        off = tables["ssp_lnu"] * rng.uniform(0.9, 1.1)
        share = rng.uniform(0.0, 0.9, off.shape[:2])[..., None] * hump * (wave >= 912.0)
        spectra[name] = (off / (1.0 - share), off)
    ing.save_tensors(
        tmp_path / "agb.safetensors", agb_difference(wave, spectra), {"kind": ing.AGB_KIND}
    )
    for name, (on, off) in spectra.items():
        stars = assemble(tables | {"ssp_lnu": on}, "toy", versions={})
        stars.manifest["agb_dust"] = {"file": "agb.safetensors", "name": name}
        write_ingredients(tmp_path / f"{name}.safetensors", stars)
        got = read_ingredients(tmp_path / f"{name}.safetensors", agb_dust=False)
        assert got.parameters["add_agb_dust_model"] is False
        seen = (wave > 912.0) & (wave < 1e7)
        np.testing.assert_allclose(
            got.stars_lnu[..., seen] * 1e-15, off[..., seen], rtol=1e-3, atol=1e-9 * off.max()
        )


def test_finding(tmp_path, toy):
    """The user's folder comes first; what is missing is named with the command that makes it."""
    write_ingredients(tmp_path / "mine.safetensors", toy)
    (tmp_path / "foreign.safetensors").write_bytes(b"not one")
    assert find_ingredients([tmp_path, BUNDLED], imf_type=1).label == "toy"
    assert find_ingredients([tmp_path, BUNDLED], imf_type=0).label == "PARSEC/CK04"
    # imf1 acts for imf_type 2 alone.
    assert find_ingredients([tmp_path], imf_type=1, imf1=1.1).label == "toy"
    with pytest.raises(
        SetupError, match=r"imf_type=3; make .*`prospect-emu ingredients imf_type=3`"
    ):
        find_ingredients([BUNDLED], imf_type=3)
    with pytest.raises(SetupError, match="use_wr_spectra=0"):
        find_ingredients([BUNDLED], use_wr_spectra=0)
    with pytest.raises(SetupError, match="tau is not a parameter of the stars"):
        find_ingredients(tau=1.0)


def test_bundled():
    """IMFs 0, 1, 2 with and without AGB dust, the whole of gas_logu, names of lines; 22 MB."""
    for imf in (0, 1, 2):
        on = find_ingredients([BUNDLED], imf_type=imf)
        off = find_ingredients([BUNDLED], imf_type=imf, add_agb_dust_model=False)
        assert on.parameters["imf_type"] == off.parameters["imf_type"] == imf
        assert not np.array_equal(on.stars_lnu, off.stars_lnu)
        assert set(on.parameters) == set(INGREDIENTS)
    assert on.neb_logu[[0, -1]].tolist() == [-4.0, -1.0]
    assert len(on.line_names) == on.line_wave.size > 100
    assert "Ba-alpha 6563" in on.line_names
    assert sum(p.stat().st_size for p in BUNDLED.iterdir()) < 22.5e6


def test_damage(tmp_path, toy):
    """Truncated, of another layout, of wrong shape: one sentence each."""
    path = tmp_path / "x.safetensors"
    write_ingredients(path, toy)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ModelFileError, match="not a complete safetensors file"):
        read_ingredients(path)
    with pytest.raises(ModelFileError, match="does not exist"):
        read_ingredients(tmp_path / "absent.safetensors")
    arrays = {name: getattr(toy, name) for name in ARRAYS}
    with pytest.raises(ModelFileError, match="resolution has shape"):
        Ingredients(**arrays | {"resolution": toy.resolution[1:]}, manifest=toy.manifest)


@pytest.mark.fsps
def test_bundled_are_those_of_fsps(fsps_ready):
    """One metallicity of each IMF, with and without AGB dust, against python-fsps.

    912 A to 1 mm within nine decades of each peak: 3e-4 (the packing, smallest at the
    top), 6e-4 without AGB dust; masses and luminosities 1e-12.
    """
    import fsps

    pop = fsps.StellarPopulation(zcontinuous=0, zmet=10)
    for imf in (0, 1, 2):
        for agb, bound in ((True, 1e-3), (False, 1e-3)):
            g = find_ingredients([BUNDLED], imf_type=imf, add_agb_dust_model=agb)
            pop.params["imf_type"], pop.params["add_agb_dust_model"] = imf, agb
            wave, lnu = pop.get_spectrum(tage=0)
            seen = (wave > 912.0) & (wave < 1e7)
            ours = g.stars_lnu[9] * 1e-15
            bright = lnu > 1e-9 * lnu.max(axis=1, keepdims=True)
            use = bright & seen
            assert use.mean() > 0.6
            np.testing.assert_allclose(ours[use], lnu[use], rtol=bound)
            np.testing.assert_allclose(g.stars_mass[9], pop.stellar_mass, rtol=1e-12)
            np.testing.assert_allclose(g.stars_loglbol[9], pop.log_lbol, rtol=1e-12)
    np.testing.assert_allclose(g.line_wave, pop.emline_wavelengths, rtol=1e-12)


@pytest.mark.fsps
@pytest.mark.slow
def test_made_of_ones_own_fsps(tmp_path, fsps_ready, monkeypatch):
    """`make_ingredients` for another IMF (a minute): 5e-4 of FSPS, and found by itself."""
    from prospect_emu.training import ingredient_tables as making

    monkeypatch.setenv("PROSPECT_EMU_INGREDIENTS", str(tmp_path))
    sentences = []
    making.make_ingredients(
        tmp_path / "mine.safetensors", "mine", report=sentences.append, imf_type=3
    )
    assert find_ingredients(imf_type=3).label == "mine"
    median, worst = making.compare_with_fsps(tmp_path / "mine.safetensors", 10)
    assert median < 3e-5 and worst < 5e-4
    assert sentences[0] == "Reading FSPS's tables"


def test_command_refuses(capsys):
    """Other than NAME=VALUE of a stellar parameter: one sentence."""
    from argparse import ArgumentParser

    from prospect_emu.training.ingredients_commands import register_ingredients

    parser = ArgumentParser()
    register_ingredients(parser.add_subparsers())
    for text, match in (
        ("tau=3", "tau is not a parameter of the stars"),
        ("imf_type=x", "NAME=VALUE"),
    ):
        args = parser.parse_args(["ingredients", text])
        with pytest.raises(SetupError, match=match):
            args.run(args)
