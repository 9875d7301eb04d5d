"""The whole SED of fits with the factored emulator, and its components."""

import numpy as np

from prospect_emu import EmulatorSPS, load_emulator
from prospect_emu.fit.collect import emulator_vectors
from prospect_emu.fit.drawn import EmulatedSED, model_sed, sed_components
from prospect_emu.fit.predictions import ExactFluxes
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.drop_in import EmulatorSpecModel, NetworkSPS
from prospect_emu.prospector.mathews23 import model_params


def test_sed_and_components_of_the_factored_emulator():
    """Against the same model compiled from its parameters, another way to the same physics."""
    emulator = load_emulator("mathews23-factored")
    model = EmulatorSpecModel(model_params(zred=1.0))
    unit = 0.3 + 0.4 * np.random.default_rng(0).random((3, model.ndim))
    theta = np.array([model.prior_transform(u) for u in unit])
    sps = NetworkSPS(emulator, filters=load_filters(["sdss_r0"]))
    vectors = emulator_vectors(model, sps, theta, theta[0])
    whole, exact = EmulatedSED(emulator), ExactFluxes(model, [], EmulatorSPS())
    seds = whole.sed(vectors)
    np.testing.assert_allclose(seds, exact.sed(theta), rtol=1e-6, atol=1e-40)
    parts = sed_components(whole, vectors[:1])
    assert set(parts) == {"wavelength", "stars", "nebular", "dust", "AGN"}
    total = sum(v for k, v in parts.items() if k != "wavelength")
    np.testing.assert_allclose(total, seds[0], rtol=1e-9, atol=1e-40)
    shown = model_sed(whole, vectors, np.array([0.5, 2.0]))
    assert shown["maggies"].shape == (3, shown["wavelength"].size)
    assert 0.25 < shown["wavelength"][0] < 0.5 and 2.0 < shown["wavelength"][-1] < 4.0
