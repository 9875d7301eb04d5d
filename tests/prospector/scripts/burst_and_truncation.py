"""A burst late in a delayed tau history, and one that ends (Simha's), in turn."""

from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import HST, OPTICAL, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.15, "truncated": False}


def build_obs(**extras):
    return catalog(OPTICAL + HST)


def build_model(zred=0.15, truncated=False, **extras):
    params = {**TemplateLibrary["parametric_sfh"], **TemplateLibrary["burst_sfh"]}
    params["zred"] = fixed(zred)
    params["tage"]["prior"] = priors.TopHat(mini=1.0, maxi=11.5)
    if truncated:
        for name in ("tburst", "fburst", "fage_burst"):
            params.pop(name)
        params["sfh"]["init"] = 5
        params["sf_trunc"] = free(0.8, priors.TopHat(mini=0.5, maxi=1.0))
        params["sf_slope"] = free(-1.0, priors.TopHat(mini=-10.0, maxi=1.0))
        return SpecModel(params)
    params["fburst"]["isfree"] = params["fage_burst"]["isfree"] = True
    params["fage_burst"]["init"] = 0.7
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
