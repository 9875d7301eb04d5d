"""The emulator file and the emulator's own promises."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import save_file

from prospect_emu.errors import FilterError, ModelFileError, RangeError
from prospect_emu.networks.emulator import Emulator
from prospect_emu.networks.emulator_base import reference_scale
from prospect_emu.networks.loading import load_emulator
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.magnitudes import maggies_to_arsinh


@pytest.fixture
def saved(tmp_path, toy_emulator):
    path = tmp_path / "toy.safetensors"
    toy_emulator.save(path)
    return path


def test_round_trip_is_exact(saved, toy_emulator, prior_draws):
    back = load_emulator(saved)
    theta = prior_draws(20)
    np.testing.assert_array_equal(back.maggies(theta), toy_emulator.maggies(theta))
    np.testing.assert_array_equal(back.mfrac(theta), toy_emulator.mfrac(theta))
    np.testing.assert_array_equal(back.covariance, toy_emulator.covariance)
    assert back.filters == toy_emulator.filters and back.parameters == PARAMETERS
    again = saved.with_name("again.safetensors")
    back.save(again)
    assert Emulator.load(again).manifest == back.manifest


def test_shapes_and_magnitudes(toy_emulator, prior_draws):
    theta = prior_draws(12)
    x = toy_emulator.maggies(theta)
    assert x.shape == (12, len(toy_emulator.filters))
    assert toy_emulator.maggies(theta.reshape(3, 4, 18)).shape == (3, 4, x.shape[1])
    # float32 layers: a batch may round otherwise than a single row.
    np.testing.assert_allclose(toy_emulator.maggies(theta[0]), x[0], rtol=2e-6)
    np.testing.assert_allclose(toy_emulator.magnitudes(theta), maggies_to_arsinh(x))
    assert toy_emulator.mfrac(theta).shape == (12,)


def test_mass_and_distance_are_exact(toy_emulator, prior_draws):
    theta = prior_draws(5)
    heavier = theta.copy()
    theta[:, 0], heavier[:, 0] = 9.0, 10.5
    ratio = toy_emulator.maggies(heavier) / toy_emulator.maggies(theta)
    np.testing.assert_allclose(ratio, 10**1.5, rtol=1e-12)
    from prospect_emu.cosmology import flux_factor

    z = np.array([0.5, 1.0, 3.0])
    np.testing.assert_allclose(
        reference_scale(9.0, z) / reference_scale(9.0, 0.5), flux_factor(z) / flux_factor(0.5)
    )


def test_select(toy_emulator, prior_draws):
    names = toy_emulator.filters[5:2:-1]
    part = toy_emulator.select(names)
    theta = prior_draws(3)
    np.testing.assert_allclose(
        part.maggies(theta), toy_emulator.maggies(theta)[:, [5, 4, 3]], rtol=2e-6
    )
    assert part.sigma_mag.shape == (3,) and part.covariance.shape == (3, 3)
    with pytest.raises(FilterError, match=r"acs_wfc_f814 \(nearest: acs_wfc_f814w"):
        toy_emulator.select(["acs_wfc_f814", "acs_wfc_f606w"])


@pytest.mark.parametrize("value", [np.nan, np.inf, 3.5])
def test_outside_the_box(toy_emulator, prior_draws, value):
    theta = prior_draws(4)
    theta[2, 14] = value
    with pytest.raises(RangeError, match=r"zred = .* outside the training box \[0.5, 3\]"):
        toy_emulator.maggies(theta)


def test_wrong_length(toy_emulator):
    with pytest.raises(RangeError, match="18 values"):
        toy_emulator.maggies(np.zeros(17))


def test_missing_emulator_lists_the_bundled():
    with pytest.raises(ModelFileError, match=r"no emulator 'nothing'.*bundled ones are"):
        load_emulator("nothing")


def test_truncated(saved):
    data = saved.read_bytes()
    saved.write_bytes(data[: len(data) // 2])
    with pytest.raises(ModelFileError, match="not a complete safetensors file"):
        load_emulator(saved)


def test_flipped_byte(saved):
    data = bytearray(saved.read_bytes())
    data[-100] ^= 1
    saved.write_bytes(bytes(data))
    with pytest.raises(ModelFileError, match="fails its checksum"):
        load_emulator(saved)


def test_changed_manifest(saved):
    """The header holds the bounds and the assumptions: a change there is damage, too."""
    data = saved.read_bytes()
    for old, new in ((b"[0.5, 3.0]", b"[0.1, 9.0]"), (b"wfc3_ir_f160w", b"wfc3_ir_f140w")):
        assert old in data
        saved.write_bytes(data.replace(old, new, 1))
        with pytest.raises(ModelFileError, match="checksum"):
            load_emulator(saved)


def test_random_damage(saved, toy_emulator):
    """Any flipped bit, header or weights, is found; never another exception."""
    data = saved.read_bytes()
    rng = np.random.default_rng(4)
    for position in [*range(8, 200, 7), *rng.integers(8, len(data), 60)]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << int(rng.integers(8))
        saved.write_bytes(bytes(damaged))
        with pytest.raises(ModelFileError):
            load_emulator(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"parameters": PARAMETERS[::-1]}, "its parameters are"),
        ({"filter_hashes": ()}, "0 curve hashes"),
        ({"sigma_mag": np.full(12, np.nan)}, "sigma is not finite"),
        ({"covariance": np.zeros((3, 3))}, r"covariance has shape \(3, 3\)"),
        ({"manifest": {}}, "not a complete emulator"),
    ],
)
def test_inconsistent_file(tmp_path, toy_emulator, change, message):
    path = tmp_path / "odd.safetensors"
    replace(toy_emulator, **change).save(path)
    with pytest.raises(ModelFileError, match=message):
        load_emulator(path)


class _Bomb:
    def __reduce__(self):
        return (exec, ("raise SystemExit('a pickle was executed')",))


def test_pickle_is_refused_and_not_run(tmp_path):
    for name in ("net.pkl", "net.npy", "net.safetensors"):
        path = tmp_path / name
        path.write_bytes(pickle.dumps(_Bomb()))
        with pytest.raises(ModelFileError, match="pickles are never loaded"):
            load_emulator(path)


def test_foreign_safetensors(tmp_path, saved):
    path = tmp_path / "foreign.safetensors"
    save_file({"a": np.zeros(3)}, path)
    with pytest.raises(ModelFileError, match="no prospect_emu manifest"):
        load_emulator(path)
    save_file({"a": np.zeros(3)}, path, metadata={"manifest": json.dumps({"kind": "shard"})})
    with pytest.raises(ModelFileError, match="holds a 'shard'"):
        load_emulator(path)


def test_future_schema(tmp_path, toy_emulator, monkeypatch):
    import prospect_emu.networks.emulator as module

    monkeypatch.setattr(module.Emulator, "SCHEMA", 99)
    path = tmp_path / "future.safetensors"
    toy_emulator.save(path)
    monkeypatch.undo()
    with pytest.raises(ModelFileError, match="schema 99"):
        load_emulator(path)
