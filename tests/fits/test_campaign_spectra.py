"""Campaigns whose catalog names a spectrum for some galaxies."""

import numpy as np
import pytest
from astropy import units as u
from astropy.table import Table

from prospect_emu import EmulatorSPS, FitResult, fit_model
from prospect_emu.errors import SetupError
from prospect_emu.fit.one_galaxy import with_spectrum
from prospect_emu.fits.backends import nested_keywords
from prospect_emu.fits.campaign import make_plan, run_campaign
from prospect_emu.fits.store import Store
from prospect_emu.fits.work import obs_of
from prospect_emu.prospector.version import adapter

pytestmark = pytest.mark.skipif(
    not hasattr(adapter, "PolySpecModel"), reason="Prospector 2 has spectra of its own"
)
OPTIONS = '{ resolution = "R=50", polyorder = 2 }'
FIT = 'model = ["parametric_sfh"]\nmax_calls = 300'


@pytest.fixture
def make(workshop):
    """A campaign of three galaxies: with a spectrum, without, and with one that is not there."""

    def make(options=OPTIONS, fit=FIT):
        path = workshop.catalog(3)
        table = Table.read(path, format="ascii.ecsv")
        table["file"] = np.ma.array(["a.ecsv", "", "b.ecsv"], mask=[False, True, False])
        table.write(path, format="ascii.ecsv", overwrite=True)
        wave = np.linspace(0.8, 1.8, 40)
        spectrum = Table({"wave": wave * u.um, "flux": np.full(40, 3.0) * u.uJy})
        spectrum["err"] = 0.3 * spectrum["flux"]
        spectrum.write(path.parent / "a.ecsv", overwrite=True)
        return workshop.config_with(f'spectrum = "file"\nspectra = {options}', fit)

    return make


def test_spectra_of_some_galaxies(make, inline):
    """The first as by itself at the same seed, the second by photometry, the third left out."""
    config = make()
    run_campaign(config, executor=inline)
    plan = make_plan(config, Store(config.output))
    ((_, reason),) = plan.left_out
    assert "b.ecsv" in reason
    one, two = plan.tasks.values()
    first, second = FitResult.read(one.path), FitResult.read(two.path)
    assert first.spectrum["mask"].sum() == 40 and second.spectrum is None
    assert "data.spectrum" in one.fingerprint and "data.spectrum" not in two.fingerprint
    obs = obs_of(one.photometry)
    file = obs.pop("spectrum_file")
    obs, model = with_spectrum(
        obs, file["spectrum"], "parametric_sfh", resolution="R=50", polyorder=2
    )
    sps = EmulatorSPS()
    with pytest.warns(RuntimeWarning, match="not converged"):
        output = fit_model(
            obs, model, sps, seed=one.seed, preset=config.fit.preset, verbose=False,
            queue_size=config.fit.queue_size, **nested_keywords(config.fit),
        )  # fmt: skip
    alone = FitResult.from_run(output, model, obs, sps)
    assert first.logz == pytest.approx(alone.logz, abs=1e-6)


def test_settings_of_spectra(make):
    with pytest.raises(SetupError, match=r"catalog\.spectra\.order is unknown; known: resolution"):
        make("{ order = 2 }")
    with pytest.raises(SetupError, match=r"needs emulators = \['exact'\]"):
        make(fit="")
