"""Normal, Student and clipped priors of a user's own class; parameters tied by own functions."""

import numpy as np
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import HST, NEAR_IR, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.55}


class WideNormal(priors.Normal):
    """A user's subclass: three times as wide as it says."""

    @property
    def scale(self):
        return 3.0 * self.params["sigma"]


def mass_metallicity(logmass=10.0, offset=0.0, **extras):
    return np.clip(-0.6 + 0.3 * (np.squeeze(logmass) - 9.0) + np.squeeze(offset), -1.9, 0.19)


def build_obs(**extras):
    return catalog(HST + NEAR_IR)


def build_model(zred=0.55, **extras):
    params = TemplateLibrary["parametric_sfh"]
    params["zred"] = fixed(zred)
    params["logmass"] = free(10.0, WideNormal(mean=10.0, sigma=0.2))
    params["mass"] = fixed(1e10, depends_on=lambda logmass=10.0, **extras: 10**logmass)
    params["offset"] = free(0.0, priors.StudentT(mean=0.0, scale=0.1, df=3))
    params["logzsol"] = fixed(-0.3, depends_on=mass_metallicity)
    params["logtau"] = free(0.3, priors.Normal(mean=0.3, sigma=0.3))
    params["tau"] = fixed(2.0, depends_on=lambda logtau=0.0, **extras: 10**logtau)
    params["tage"]["prior"] = priors.LogNormal(mode=1.0, sigma=0.3)
    params["dust2"]["prior"] = priors.ClippedNormal(mean=0.2, sigma=0.3, mini=0.0, maxi=np.inf)
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
