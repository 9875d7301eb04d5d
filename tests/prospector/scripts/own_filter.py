"""A curve of the observer's own beside sedpy's, and the lines of one's own survey."""

import numpy as np
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from sedpy.observate import Filter, load_filters
from shared import OPTICAL, catalog, fixed

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.24}


def narrow_band(name="nb816", centre=8150.0, width=120.0):
    wave = np.linspace(centre - 2 * width, centre + 2 * width, 201)
    through = 0.9 * np.exp(-0.5 * ((wave - centre) / (0.4 * width)) ** 8)
    return Filter(name, data=(wave, through))


def build_obs(**extras):
    return catalog([*load_filters([*OPTICAL, "subaru_suprimecam_ia624"]), narrow_band()])


def build_model(zred=0.24, **extras):
    params = TemplateLibrary["parametric_sfh"]
    params.update(TemplateLibrary["nebular"])
    params["zred"] = fixed(zred)
    params["sfh"]["init"] = 1
    params["const"] = fixed(0.2)
    params["gas_logu"]["isfree"] = True
    params["tage"]["prior"] = priors.TopHat(mini=0.01, maxi=10.5)
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
