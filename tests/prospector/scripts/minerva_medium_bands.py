"""Medium bands of JWST at a fixed redshift: continuity prior, IGM factor and error inflation."""

import numpy as np
from prospect.likelihood import NoiseModel
from prospect.likelihood.kernels import Uncorrelated
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary, adjust_continuity_agebins
from shared import HST, JWST, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 3.2, "tuniv": 2.0}


def build_obs(**extras):
    bands = [*HST[:3], *JWST, "jwst_f182m", "jwst_f210m", "jwst_f300m", "jwst_f335m", "jwst_f410m"]
    obs = catalog(bands, brightness=1e-11)
    obs["phot_mask"] = np.arange(len(bands)) != 4
    return obs


def build_model(zred=3.2, tuniv=2.0, **extras):
    params = TemplateLibrary["continuity_sfh"]
    for name in ("nebular", "igm", "dust_emission"):
        params.update(TemplateLibrary[name])
    params = adjust_continuity_agebins(params, tuniv=tuniv, nbins=8)
    params["zred"] = fixed(zred)
    params["imf_type"]["init"] = 1
    params["dust_type"]["init"] = 4
    params["dust_index"] = free(-0.2, priors.TopHat(mini=-1.0, maxi=0.4))
    params["dust1"] = fixed(0.0, depends_on=lambda dust2=0.0, **extras: 1.0 * dust2)
    params["gas_logu"] = free(-2.0, priors.TopHat(mini=-4.0, maxi=-1.0))
    params["igm_factor"]["isfree"] = True
    params["phot_jitter"] = free(0.05, priors.TopHat(mini=0.0, maxi=0.3))
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    jitter = Uncorrelated(parnames=["phot_jitter"])
    return None, NoiseModel(kernels=[jitter], metric_name="phot_unc", weight_by=["phot"])


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
