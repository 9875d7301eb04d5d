"""Free redshift and a delayed tau history whose age is a fraction of cosmic time."""

from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from prospect.models.transforms import tage_from_tuniv
from shared import HST, NEAR_IR, OPTICAL, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zmax": 2.0}


def build_obs(**extras):
    return catalog(OPTICAL + HST + NEAR_IR)


def build_model(zmax=2.0, **extras):
    params = TemplateLibrary["parametric_sfh"]
    params["zred"] = free(0.5, priors.TopHat(mini=0.01, maxi=zmax))
    params["tage_tuniv"] = free(0.5, priors.TopHat(mini=0.1, maxi=1.0))
    params["tage"] = fixed(3.0, depends_on=tage_from_tuniv)
    params["mass"] = fixed(1e10, depends_on=lambda logmass=10.0, **extras: 10**logmass)
    params["logmass"] = free(10.0, priors.TopHat(mini=8.0, maxi=12.0))
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
