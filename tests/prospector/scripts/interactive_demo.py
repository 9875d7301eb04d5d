"""A nearby star-forming dwarf at a given distance: SSP or delayed tau, nebular lines, dust."""

import numpy as np
from prospect.models import SedModel, priors
from prospect.models.templates import TemplateLibrary
from shared import MID_IR, OPTICAL, ULTRAVIOLET, catalog, fixed

from prospect_emu import EmulatorSPS

run_params = {"ldist": 5.8, "add_duste": True, "template": "parametric_sfh"}


def build_obs(snr=10, ldist=10.0, **extras):
    obs = catalog(ULTRAVIOLET + OPTICAL + MID_IR, error=1.0 / snr, brightness=3e-7)
    obs["phot_mask"] = np.array(["spitzer" not in f.name for f in obs["filters"]])
    return obs


def build_model(ldist=10.0, add_duste=False, template="parametric_sfh", **extras):
    params = TemplateLibrary[template]
    params["lumdist"] = fixed(ldist, units="Mpc")
    params["zred"]["init"] = 0.0
    params["dust2"]["init"], params["logzsol"]["init"], params["mass"]["init"] = 0.05, -0.5, 1e8
    params["mass"]["prior"] = priors.LogUniform(mini=1e6, maxi=1e10)
    params["tage"]["prior"] = priors.TopHat(mini=0.1, maxi=13.5)
    if add_duste:
        params.update(TemplateLibrary["dust_emission"])
        params["duste_gamma"]["isfree"] = True
    params.update(TemplateLibrary["nebular"])
    return SedModel(params)


def build_sps(zcontinuous=1, **extras):
    return EmulatorSPS(zcontinuous=zcontinuous)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
