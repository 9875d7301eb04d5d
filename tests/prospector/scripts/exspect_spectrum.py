"""Spectrum and photometry: polynomial calibration, smoothing, jitter and outliers, lines apart."""

import numpy as np
from prospect.likelihood import NoiseModel
from prospect.likelihood.kernels import Uncorrelated
from prospect.models import PolySpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import NEAR_IR, OPTICAL, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.02}


def build_obs(**extras):
    wave = np.linspace(4000.0, 6800.0, 300)
    spectrum = 1e-8 * (wave / 5500.0) ** 1.5
    return catalog(
        OPTICAL + NEAR_IR, brightness=1e-8, wavelength=wave, spectrum=spectrum,
        unc=0.03 * spectrum, mask=np.abs(wave - 5577.0) > 10.0,
    )  # fmt: skip


def build_model(zred=0.02, **extras):
    params = TemplateLibrary["parametric_sfh"]
    for name in ("nebular", "spectral_smoothing", "optimize_speccal", "outlier_model"):
        params.update(TemplateLibrary[name])
    params["zred"] = free(zred, priors.TopHat(mini=zred - 0.003, maxi=zred + 0.003))
    params["polyorder"]["init"] = 5
    params["nebemlineinspec"]["init"] = False
    params["eline_sigma"] = free(120.0, priors.TopHat(mini=30.0, maxi=300.0))
    params["gas_logz"] = free(0.0, priors.TopHat(mini=-2.0, maxi=0.5))
    params["spec_jitter"] = free(1.0, priors.TopHat(mini=1.0, maxi=3.0))
    params["sigma_smooth"]["prior"] = priors.TopHat(mini=40.0, maxi=400.0)
    params["f_outlier_phot"] = fixed(0.05)
    return PolySpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    jitter = Uncorrelated(parnames=["spec_jitter"])
    return NoiseModel(kernels=[jitter], metric_name="unc", weight_by=["unc"]), None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
