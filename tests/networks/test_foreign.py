"""Files of Parrot and Speculator: layouts made here, forward passes by plain NumPy."""

import itertools
import pickle

import numpy as np
import pytest

from prospect_emu.commands.cli import main
from prospect_emu.errors import ModelFileError, RangeError
from prospect_emu.networks.foreign import convert
from prospect_emu.networks.loading import load_emulator
from prospect_emu.networks.speculator import SpectrumNetwork
from prospect_emu.networks.unpickling import load_arrays
from prospect_emu.networks.vector import BOX, PARAMETERS
from prospect_emu.observe.magnitudes import arsinh_to_maggies

BANDS = ["acs_wfc_f606w", "no_such_filter", "jwst_f444w"]
BOUNDS = np.array([BOX[name] for name in PARAMETERS])
ZRED = PARAMETERS.index("zred")


def network(seed, width=6):
    """Scales of the inputs and outputs, weights applied from the left, biases."""
    rng = np.random.default_rng(seed)
    sizes = (18, width, width, len(BANDS))
    weights = [rng.normal(0, 0.4, (b, a)) for a, b in itertools.pairwise(sizes)]
    biases = [rng.normal(0, 0.3, b) for b in sizes[1:]]
    return (BOUNDS.mean(axis=1), np.ptp(BOUNDS, axis=1)), (np.full(3, 26.0), np.full(3, 2.0)), (
        weights, biases
    )  # fmt: skip


def magnitudes(net, theta):
    """What Parrot computes of one vector, in double precision."""
    (mean, scale), (shift, width), (weights, biases) = net
    h = (theta - mean) / scale
    for w, b in zip(weights[:-1], biases[:-1], strict=True):
        x = w @ h + b
        h = 0.5 * x * (1.0 + np.tanh(np.sqrt(2.0 / np.pi) * (x + 0.044715 * x**3)))
    return (weights[-1] @ h + biases[-1]) * width + shift


def draws(n, low=0.5, high=3.0):
    theta = np.random.default_rng(9).uniform(*BOUNDS.T, (n, 18))
    theta[:, ZRED] = np.linspace(low, high, n)
    return theta


@pytest.fixture
def single(tmp_path):
    """An array of six objects, as Parrot's single networks are."""
    inputs, outputs, layers = network(1)
    data = np.empty(6, dtype=object)
    data[:] = [
        {b: i + 1 for i, b in enumerate(BANDS)}, inputs, layers, outputs,
        np.tile(np.linspace(-0.04, 0.04, 11), (3, 1)), BOUNDS,
    ]  # fmt: skip
    np.save(tmp_path / "single.npy", data, allow_pickle=True)
    return tmp_path / "single.npy"


def test_a_single_network(single, capsys):
    out = single.with_suffix(".safetensors")
    assert main(["convert", str(single), "--out", str(out)]) == 0
    assert "no_such_filter is left out" in capsys.readouterr().out
    emulator, theta = load_emulator(out), draws(7)
    assert emulator.filters == ("acs_wfc_f606w", "jwst_f444w") and "MILES" in emulator.libraries
    want = np.array([magnitudes(network(1), row)[[0, 2]] for row in theta])
    # Single precision, as Parrot's own: 1e-6 of an output spread of 2 mag.
    np.testing.assert_allclose(emulator.network_magnitudes(theta), want, atol=2e-5)
    np.testing.assert_allclose(emulator.maggies(theta), arsinh_to_maggies(want), rtol=3e-5)
    np.testing.assert_allclose(emulator.sigma_mag, 0.04)
    np.testing.assert_allclose(emulator.at_redshift(1.0).maggies(theta), emulator.maggies(theta))
    assert ((emulator.mfrac(theta) > 0.3) & (emulator.mfrac(theta) < 1.0)).all()


def test_a_stitched_network(tmp_path):
    data = {
        "filters": BANDS, "filter_redir": {b: i for i, b in enumerate(BANDS)},
        "parameters": list(PARAMETERS), "zred_index": ZRED,
        "parameter_limits": np.where(np.arange(18)[:, None] == ZRED, [0.0, 4.25], BOUNDS),
        "emulator_limits": [(0.0, 0.0, 2.0, 0.5), (2.0, 0.5, 4.25, 0.0)],
        "nets": [(a, b, *c, "gelu") for a, b, c in (network(2), network(3))],
    }  # fmt: skip
    np.save(tmp_path / "s.npy", data, allow_pickle=True)
    emulator, notes = convert(tmp_path / "s.npy", "s")
    assert any("Redshifts are 0.5 to 3, of 0 to 4.25" in note for note in notes)
    assert any("errors are not known" in note for note in notes)
    theta = draws(9, 1.5, 2.5)
    phase = np.clip((theta[:, ZRED] - 1.75) / 0.5, 0.0, 1.0)
    late = np.sin(0.5 * np.pi * phase)[:, None] ** 2
    both = [np.array([magnitudes(network(k), row)[[0, 2]] for row in theta]) for k in (2, 3)]
    want = (1.0 - late) * both[0] + late * both[1]
    np.testing.assert_allclose(emulator.network_magnitudes(theta), want, atol=2e-5)


def test_a_network_of_speculator(tmp_path, capsys):
    """Its pickle, and its forward pass in plain NumPy, to rounding."""
    rng = np.random.default_rng(4)
    sizes, nwave = (5, 7, 7, 3), 11
    weights = [rng.normal(size=pair) for pair in itertools.pairwise(sizes)]
    biases = [rng.normal(size=n) for n in sizes[1:]]
    alphas, betas = ([rng.normal(size=n) for n in sizes[1:-1]] for _ in range(2))
    scales = [rng.uniform(0.5, 1.5, n) for n in (5, 5, 3, 3, nwave, nwave)]
    basis, wave = rng.normal(size=(3, nwave)), np.linspace(1e3, 4e3, nwave)
    data = [
        weights,
        biases,
        alphas,
        betas,
        *scales,
        basis,
        5,
        nwave,
        wave,
        3,
        [7, 7],
        3,
        list(sizes),
    ]
    (tmp_path / "model.pkl").write_bytes(pickle.dumps(data, protocol=3))
    out = tmp_path / "model.safetensors"
    assert main(["convert", str(tmp_path / "model.pkl"), "--out", str(out)]) == 0
    network = SpectrumNetwork.load(out)
    np.testing.assert_array_equal(network.wavelengths, wave)
    theta = rng.normal(size=(4, 5))
    h = (theta - scales[0]) / scales[1]
    for w, b, alpha, beta in zip(weights, biases, alphas, betas, strict=False):
        x = h @ w + b
        h = (beta + (1.0 - beta) / (1.0 + np.exp(-alpha * x))) * x
    h = (h @ weights[-1] + biases[-1]) * scales[3] + scales[2]
    np.testing.assert_allclose(network.log_spectrum(theta), (h @ basis) * scales[5] + scales[4])
    with pytest.raises(RangeError, match="has 5 parameters"):
        network.log_spectrum(theta[0])
    data[10] = basis[:2]
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps(data))
    assert main(["convert", str(tmp_path / "bad.pkl")]) == 2
    assert "do not fit together" in capsys.readouterr().err


class Hostile:
    def __reduce__(self):
        return eval, ("open('owned', 'w')",)


def test_hostile_and_foreign_files(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    data = np.empty(6, dtype=object)
    data[:] = [Hostile()] * 6
    np.save("bad.npy", data, allow_pickle=True)
    (tmp_path / "bad.pkl").write_bytes(pickle.dumps([np.ones(3), Hostile()]))
    for name in ("bad.npy", "bad.pkl"):
        with pytest.raises(ModelFileError, match="nothing in it was executed"):
            load_arrays(name)
    assert not (tmp_path / "owned").exists()
    np.save("plain.npy", np.ones(3))
    (tmp_path / "torn.npy").write_bytes((tmp_path / "bad.npy").read_bytes()[:90])
    np.save("other.npy", np.array({"nets": []}, dtype=object), allow_pickle=True)
    said = {
        "plain.npy": "numbers alone", "torn.npy": "plain arrays", "none.npy": "check the path",
        "other.npy": "layout of Parrot",
    }  # fmt: skip
    for name, words in said.items():
        assert main(["convert", name]) == 2
        assert words in capsys.readouterr().err


def test_arrays_of_every_kind(tmp_path):
    data = {"a": [np.arange(3.0), np.float32(2.0)], "b": ("text", None, True)}
    (tmp_path / "a.pkl").write_bytes(pickle.dumps(data))
    again = load_arrays(tmp_path / "a.pkl")
    np.testing.assert_array_equal(again["a"][0], data["a"][0])
    assert again["a"][1] == 2.0 and again["b"] == data["b"]
