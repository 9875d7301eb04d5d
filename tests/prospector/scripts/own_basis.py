"""A quasar's continuum in a class derived from Prospector's, after filling FSPS's cache."""

import numpy as np
from prospect.models import SedModel, priors
from prospect.models.templates import TemplateLibrary
from shared import NEAR_IR, OPTICAL, ULTRAVIOLET, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.4, "slope": 0.5}


class QuasarBasis(EmulatorSPS):
    """Components of stars as `CSPSpecBasis` sums them, and a power law."""

    def __init__(self, slope=0.5, **settings):
        self.slope = slope
        super().__init__(**settings)

    def get_galaxy_spectrum(self, **params):
        self.update(**params)
        mass = np.atleast_1d(self.params["mass"])
        total, left = 0.0, np.zeros(mass.size)
        for i, formed in enumerate(mass):
            self.update_component(i)
            wave, light = self.ssp.get_spectrum(tage=self.ssp.params["tage"], peraa=False)
            total = total + formed * light
            left[i] = self.ssp.stellar_mass
        quasar = self.params["quasar"] * 1e-16 * (wave / 5500.0) ** self.slope
        return wave, total / mass.sum() + quasar, np.average(left, weights=mass)


def build_obs(**extras):
    return catalog(ULTRAVIOLET + OPTICAL + NEAR_IR)


def build_model(zred=0.4, **extras):
    params = TemplateLibrary["parametric_sfh"]
    params["zred"] = fixed(zred)
    params["quasar"] = free(1.0, priors.LogUniform(mini=0.01, maxi=10.0))
    params["tage"]["prior"] = priors.TopHat(mini=0.1, maxi=9.0)
    return SedModel(params)


def build_sps(slope=0.5, **extras):
    sps = QuasarBasis(slope, zcontinuous=1, compute_vega_mags=False)
    for logzsol in (-1.0, 0.0):
        sps.ssp.params["sfh"] = 4
        sps.ssp.params["logzsol"] = logzsol
        sps.ssp._compute_csp()
    return sps


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
