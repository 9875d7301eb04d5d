"""Broad lines of an AGN in the photometry, with the class that Prospector has for them."""

from prospect.models import priors
from prospect.models.sedmodel import AGNSpecModel
from prospect.models.templates import TemplateLibrary
from shared import HST, JWST, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 2.3}


def build_obs(**extras):
    return catalog(HST + JWST, brightness=1e-10)


def build_model(zred=2.3, **extras):
    params = TemplateLibrary["continuity_sfh"]
    for name in ("nebular", "agn", "agn_eline", "igm"):
        params.update(TemplateLibrary[name])
    params["zred"] = fixed(zred)
    params["nebemlineinspec"] = fixed(False)
    params["fagn"]["isfree"] = True
    params["agn_elum"] = free(1e-4, priors.LogUniform(mini=1e-6, maxi=1e-2))
    return AGNSpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
