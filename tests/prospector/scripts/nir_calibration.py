"""Near-infrared bands whose zero points are wrong together: correlated noise of photometry."""

from prospect.likelihood import NoiseModel
from prospect.likelihood.kernels import PhotoCal, Uncorrelated
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary, adjust_continuity_agebins
from prospect.models.transforms import dustratio_to_dust1
from shared import NEAR_IR, OPTICAL, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.55, "tuniv": 8.0}


def build_obs(**extras):
    bands = [*OPTICAL, *NEAR_IR, "wise_w1", "wise_w2"]
    return catalog(bands, filternames=bands)


def build_model(zred=0.55, tuniv=8.0, **extras):
    params = adjust_continuity_agebins(TemplateLibrary["continuity_sfh"], tuniv=tuniv, nbins=9)
    params["zred"] = fixed(zred)
    params["dust_type"]["init"] = 4
    params["dust_index"] = free(-0.1, priors.TopHat(mini=-1.2, maxi=0.4))
    params["dust1"] = fixed(0.0, depends_on=dustratio_to_dust1)
    params["dust_ratio"] = free(1.0, priors.ClippedNormal(mini=0.0, maxi=2.0, mean=1.0, sigma=0.3))
    params["phot_jitter"] = fixed(1.0)
    params["nir_offset"] = free(0.05, priors.TopHat(mini=0.0, maxi=0.2))
    params["nir_bandnames"] = fixed(NEAR_IR, n=3)
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    kernels = [Uncorrelated(parnames=["phot_jitter"]), PhotoCal(["nir_offset", "nir_bandnames"])]
    return None, NoiseModel(
        kernels=kernels, metric_name="filternames", mask_name="phot_mask",
        weight_by=["phot_unc", "phot"],
    )  # fmt: skip


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
