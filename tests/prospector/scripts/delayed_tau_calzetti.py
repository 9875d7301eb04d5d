"""Delayed tau, Calzetti's law and Chabrier's IMF: the model of most first papers."""

import numpy as np
from prospect.models import SedModel, priors
from prospect.models.templates import TemplateLibrary
from shared import HST, MID_IR, OPTICAL, catalog

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.9}


def build_obs(**extras):
    obs = catalog(OPTICAL + HST + MID_IR[:2])
    missing = np.arange(len(obs["filters"])) == 4
    obs["maggies"] = np.ma.masked_array(obs["maggies"], mask=missing)
    return obs


def build_model(zred=0.9, **extras):
    params = TemplateLibrary["parametric_sfh"]
    params["zred"]["init"] = zred
    params["imf_type"]["init"], params["dust_type"]["init"] = 1, 2
    params["tau"]["prior"] = priors.LogUniform(mini=0.05, maxi=20.0)
    params["tage"]["prior"] = priors.TopHat(mini=0.05, maxi=6.3)
    params["dust2"]["prior"] = priors.ClippedNormal(mean=0.3, sigma=0.5, mini=0.0, maxi=3.0)
    return SedModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
