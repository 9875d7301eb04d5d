"""Prospector-alpha as Leja et al. use it: six bins, two dust components, AGN torus, lines apart."""

import numpy as np
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary, adjust_dirichlet_agebins
from shared import FAR_IR, HST, MID_IR, NEAR_IR, catalog, fixed

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.7, "tuniv": 7.3}


def build_obs(**extras):
    return catalog(HST + NEAR_IR[:1] + MID_IR + FAR_IR[:3])


def build_model(zred=0.7, tuniv=7.3, **extras):
    params = TemplateLibrary["alpha"]
    params["zred"] = fixed(zred)
    edges = np.log10(np.array([1e-9, 0.1, 0.3, 1.0, 3.0, 6.0, tuniv])) + 9
    params = adjust_dirichlet_agebins(params, agelims=edges)
    params["logzsol"]["prior"] = priors.TopHat(mini=-1.98, maxi=0.19)
    params["nebemlineinspec"] = fixed(False)
    params["gas_logu"]["init"] = -1.0
    params.update(TemplateLibrary["igm"])
    return SpecModel(params)


def build_sps(zcontinuous=1, **extras):
    return EmulatorSPS(zcontinuous=zcontinuous)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
