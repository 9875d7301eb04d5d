"""Prospector-beta as for UNCOVER: redshift, mass, metallicity and history in one joint prior."""

from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import HST, JWST, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"floor": 0.05}


def build_obs(floor=0.05, **extras):
    return catalog(HST[:3] + JWST, brightness=1e-11, error=floor)


def build_model(**extras):
    params = TemplateLibrary["beta"]
    params.update(TemplateLibrary["igm"])
    params["imf_type"]["init"] = 1
    params["nebemlineinspec"] = fixed(True)
    params["gas_logz"] = free(-0.5, priors.TopHat(mini=-2.0, maxi=0.5))
    params["gas_logu"] = fixed(-1.0)
    params["dust2"]["prior"] = priors.ClippedNormal(mini=0.0, maxi=4.0, mean=0.3, sigma=1.0)
    params["dust_index"]["prior"] = priors.TopHat(mini=-1.2, maxi=0.4)
    for name in ("duste_qpah", "duste_umin", "duste_gamma"):
        params[name]["isfree"] = False
    params["fagn"]["prior"] = priors.LogUniform(mini=1e-5, maxi=3.0)
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
