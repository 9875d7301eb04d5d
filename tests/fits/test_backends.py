"""What a fit asks for fluxes: names, errors, and the seed of Prospector's sampler."""

import dynesty
import numpy as np
import pytest

from prospect_emu.errors import ModelFileError, SetupError
from prospect_emu.fits import backends


def test_labels(tmp_path):
    assert backends.label_of("mathews23-256") == "mathews23-256"
    assert backends.label_of(str(tmp_path / "w64.safetensors")) == "w64"
    assert backends.label_of("fsps") == "fsps"


def test_unknown_backend():
    with pytest.raises(ModelFileError, match="no emulator 'mathews32'"):
        backends.load_backend("mathews32")


def test_fsps_without_a_home(monkeypatch):
    pytest.importorskip("torch", reason="prospect_emu.training needs torch")
    monkeypatch.delenv("SPS_HOME", raising=False)
    with pytest.raises(SetupError, match="SPS_HOME is not set"):
        backends.load_backend("fsps")


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
