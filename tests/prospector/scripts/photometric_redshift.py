"""Free redshift, continuity prior with bins that follow it, Kriek and Conroy's dust law."""

from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary, adjust_continuity_agebins
from prospect.models.transforms import zred_to_agebins
from shared import HST, JWST, catalog, free

from prospect_emu import EmulatorSPS

run_params = {"zmin": 0.5, "zmax": 4.0}


def build_obs(**extras):
    return catalog(HST[:3] + JWST, brightness=3e-11)


def build_model(zmin=0.5, zmax=4.0, **extras):
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary["nebular"])
    params.update(TemplateLibrary["igm"])
    params = adjust_continuity_agebins(params, tuniv=4.0, nbins=6)
    params["zred"] = free(1.5, priors.TopHat(mini=zmin, maxi=zmax))
    params["agebins"]["depends_on"] = zred_to_agebins
    params["dust_type"]["init"] = 4
    params["dust_index"] = free(-0.3, priors.TopHat(mini=-1.0, maxi=0.4))
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
