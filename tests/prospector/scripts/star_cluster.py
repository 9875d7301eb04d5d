"""A star cluster as a single population of Salpeter's stars with a Milky Way dust law."""

from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import HST, ULTRAVIOLET, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"lumdist": 0.78}


def build_obs(**extras):
    return catalog([ULTRAVIOLET[1], *HST], brightness=1e-8)


def build_model(lumdist=0.78, **extras):
    params = TemplateLibrary["ssp"]
    params["zred"]["init"] = 0.0
    params["lumdist"] = fixed(lumdist)
    params["imf_type"]["init"] = 0
    params["dust_type"]["init"] = 1
    params["mwr"], params["uvb"] = fixed(3.1), free(1.0, priors.TopHat(mini=0.5, maxi=1.5))
    params["mass"] = free(1e5, priors.LogUniform(mini=1e2, maxi=1e7))
    params["tage"] = free(0.1, priors.LogUniform(mini=1e-3, maxi=13.0))
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
