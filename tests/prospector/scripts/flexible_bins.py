"""Bins of equal mass that move with the star-formation rate."""

from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import HST, NEAR_IR, catalog, fixed

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.2}


def build_obs(**extras):
    return catalog(HST + NEAR_IR)


def build_model(zred=0.2, **extras):
    params = TemplateLibrary["continuity_flex_sfh"]
    params.update(TemplateLibrary["dust_emission"])
    params["zred"] = fixed(zred)
    params["logmass"]["prior"] = priors.TopHat(mini=8.0, maxi=12.0)
    params["agebins"]["init"] = [[0.0, 7.5], [7.5, 8.5], [8.5, 9.7], [9.7, 10.05]]
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
