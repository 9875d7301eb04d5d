"""Surviving mass as the free parameter, SMC dust, and a class of the user's own."""

import numpy as np
from prospect.models import SedModel, priors
from prospect.models.templates import TemplateLibrary
from shared import OPTICAL, ULTRAVIOLET, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.03}


class Foreground(SedModel):
    """The Milky Way's dust in front of the model."""

    def predict(self, theta, obs=None, sps=None, **extras):
        spec, phot, extra = super().predict(theta, obs=obs, sps=sps, **extras)
        wave = np.array([f.wave_effective for f in obs["filters"]])
        return spec, phot * 10 ** (-0.4 * self.params["a_v"] * (wave / 5500.0) ** -1.3), extra


def build_obs(**extras):
    return catalog(ULTRAVIOLET + OPTICAL, brightness=1e-8)


def build_model(zred=0.03, **extras):
    params = TemplateLibrary["parametric_sfh"]
    params["zred"] = fixed(zred)
    params["mass_units"] = {"N": 1, "isfree": False, "init": "mstar"}
    params["dust_type"]["init"] = 6
    params["a_v"] = free(0.1, priors.ClippedNormal(mean=0.1, sigma=0.03, mini=0.0, maxi=0.5))
    return Foreground(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
