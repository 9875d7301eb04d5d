"""Amplitudes of the lines in a spectrum marginalised, with FSPS's as their prior."""

import numpy as np
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import HST, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.6}


def build_obs(**extras):
    wave = np.linspace(7500.0, 8500.0, 200)
    spectrum = np.full(wave.size, 1e-9)
    return catalog(
        HST, wavelength=wave, spectrum=spectrum, unc=0.05 * spectrum,
        mask=np.ones(wave.size, dtype=bool),
    )  # fmt: skip


def build_model(zred=0.6, **extras):
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary["nebular"])
    params.update(TemplateLibrary["nebular_marginalization"])
    params["elines_to_fit"] = fixed(np.array(["Ba-beta 4861", "[O III] 4959", "[O III] 5007"]))
    params["zred"] = fixed(zred)
    params["sigma_smooth"] = free(200.0, priors.TopHat(mini=50.0, maxi=300.0))
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
