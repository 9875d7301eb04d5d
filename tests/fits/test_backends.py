"""What a fit asks for fluxes: names, errors, and the parts of the FSPS road that need no FSPS."""

import dynesty
import numpy as np
import pytest

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.errors import ModelFileError, SetupError
from prospect_emu.fits import backends
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.mathews23 import model_params


def test_labels(tmp_path):
    assert backends.label_of("mathews23-256") == "mathews23-256"
    assert backends.label_of(str(tmp_path / "w64.safetensors")) == "w64"
    assert backends.label_of("exact:/some/tables.safetensors") == "exact"
    assert backends.label_of("fsps") == "fsps"


def test_unknown_backend():
    with pytest.raises(ModelFileError, match="no emulator 'mathews32'"):
        backends.load_backend("mathews32")


def test_exact_without_tables():
    with pytest.raises(SetupError, match=r"There is no file /none\.safetensors, the tables"):
        backends.load_backend("exact:/none.safetensors")


def test_fsps_without_a_home(monkeypatch):
    pytest.importorskip("torch", reason="prospect_emu.training needs torch")
    monkeypatch.delenv("SPS_HOME", raising=False)
    with pytest.raises(SetupError, match="SPS_HOME is not set"):
        backends.load_backend("fsps")


def test_predictions_are_remembered_by_the_samples_own_numbers(toy_emulator):
    """What a fit through Prospector evaluates is found again without evaluating it."""
    bands = toy_emulator.filters[:4]
    curves = load_filters(bands)
    sps = EmulatorSPS(toy_emulator, filters=curves)
    emulator = backends._fsps_emulator(bands, {"libraries": []}, compute=None)
    model = type("Model", (backends._Remembers, EmulatorSpecModel), {})(model_params(zred=1.1))
    model.remember(emulator.memory, EmulatorSPS(emulator, filters=curves).theta_from_params)
    theta = model.prior_transform(np.random.default_rng(3).random(model.ndim))
    obs = {"filters": curves, "wavelength": None, "spectrum": None}
    _, maggies, mfrac = model.predict(theta, obs, sps=sps)  # as Prospector's lnprobfn calls it
    names = [backends._NAMES.get(n, n) for n in model.theta_labels()]
    values = {**dict(zip(names, theta, strict=True)), "zred": 1.1}
    vector = np.array([values[name] for name in emulator.parameters])
    # `compute` is None: anything but a memory fails.
    np.testing.assert_array_equal(emulator.maggies(vector[None]), maggies[None])
    assert emulator.mfrac(vector[None], check=False) == pytest.approx([mfrac], rel=1e-15)


def test_prospectors_sampler_is_seeded():
    """Prospector passes dynesty no random state; the same seed gives the same samples."""

    def run(seed):
        with backends.seeded_dynesty(seed):
            sampler = dynesty.DynamicNestedSampler(
                lambda x: -0.5 * float(x @ x), lambda u: 10 * u - 5, 2
            )
        for _ in sampler.sample_initial(nlive=30, maxiter=40):
            pass
        return sampler.results.samples

    np.testing.assert_array_equal(run(3), run(3))
    assert not np.array_equal(run(3)[:10], run(4)[:10])
