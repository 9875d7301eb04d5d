"""Dirichlet prior in five bins; power laws for the dust of young and of all stars."""

from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary, adjust_dirichlet_agebins
from shared import NEAR_IR, OPTICAL, ULTRAVIOLET, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.05}


def build_obs(**extras):
    return catalog(ULTRAVIOLET + OPTICAL + NEAR_IR, brightness=1e-8)


def build_model(zred=0.05, **extras):
    params = adjust_dirichlet_agebins(
        TemplateLibrary["dirichlet_sfh"], agelims=[0.0, 7.5, 8.5, 9.0, 9.6, 10.1]
    )
    params["zred"] = fixed(zred)
    params["total_mass"]["prior"] = priors.LogUniform(mini=1e7, maxi=1e12)
    params["dust1"] = free(0.5, priors.TopHat(mini=0.0, maxi=2.0))
    params["dust1_index"] = fixed(-1.3)
    params["dust_index"] = free(-0.7, priors.Normal(mean=-0.7, sigma=0.1))
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
