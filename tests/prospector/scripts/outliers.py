"""A fifth of the photometry may be wrong: mixture likelihood with a free share of outliers."""

from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import NEAR_IR, OPTICAL, ULTRAVIOLET, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.3}


def build_obs(**extras):
    obs = catalog(ULTRAVIOLET + OPTICAL + NEAR_IR)
    obs["maggies"][3] *= 3.0
    return obs


def build_model(zred=0.3, **extras):
    params = TemplateLibrary["parametric_sfh"]
    params["zred"] = fixed(zred)
    params["f_outlier_phot"] = free(0.05, priors.TopHat(mini=0.0, maxi=0.5))
    params["nsigma_outlier_phot"] = fixed(50.0)
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
