"""Host of an AGN from the ultraviolet to 250 micron: torus and dust emission free."""

from prospect.models import SedModel, priors
from prospect.models.templates import TemplateLibrary
from shared import FAR_IR, MID_IR, NEAR_IR, OPTICAL, ULTRAVIOLET, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.08}


def build_obs(**extras):
    return catalog(ULTRAVIOLET + OPTICAL + NEAR_IR + MID_IR + FAR_IR, brightness=1e-8)


def build_model(zred=0.08, **extras):
    params = TemplateLibrary["parametric_sfh"]
    for name in ("dust_emission", "agn"):
        params.update(TemplateLibrary[name])
    params["zred"] = fixed(zred)
    for name in ("duste_umin", "duste_qpah", "duste_gamma", "fagn", "agn_tau"):
        params[name]["isfree"] = True
    params["dust_type"]["init"] = 5
    params["dust_index"] = free(-0.4, priors.TopHat(mini=-1.0, maxi=0.4))
    params["mass_units"] = {"N": 1, "isfree": False, "init": "mformed"}
    return SedModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
