"""Host of a supernova at the transient's redshift: continuity prior, masked missing bands."""

import numpy as np
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary, adjust_continuity_agebins
from shared import NEAR_IR, OPTICAL, ULTRAVIOLET, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.12}


def build_obs(**extras):
    bands = [*ULTRAVIOLET, *OPTICAL, *NEAR_IR, "wise_w1", "wise_w2", "wise_w3", "wise_w4"]
    obs = catalog(bands, brightness=2e-8)
    obs["maggies"][[0, 9]] = np.nan
    obs["phot_mask"] = np.isfinite(obs["maggies"])
    return obs


def build_model(zred=0.12, **extras):
    params = TemplateLibrary["continuity_sfh"]
    for name in ("dust_emission", "nebular", "agn"):
        params.update(TemplateLibrary[name])
    params = adjust_continuity_agebins(params, tuniv=12.2, nbins=7)
    params["zred"] = fixed(zred)
    params["dust_type"]["init"] = 4
    params["dust2"]["prior"] = priors.ClippedNormal(mini=0.0, maxi=4.0, mean=0.3, sigma=1.0)
    params["dust_index"] = free(0.0, priors.TopHat(mini=-1.0, maxi=0.4))
    params["dust1_fraction"] = free(
        1.0, priors.ClippedNormal(mini=0.0, maxi=2.0, mean=1.0, sigma=0.3)
    )
    params["dust1"] = fixed(
        0.0, depends_on=lambda dust1_fraction, dust2, **e: dust1_fraction * dust2
    )
    for name in ("duste_qpah", "duste_umin", "duste_gamma", "fagn", "agn_tau"):
        params[name]["isfree"] = True
    params["nebemlineinspec"]["init"] = False
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
