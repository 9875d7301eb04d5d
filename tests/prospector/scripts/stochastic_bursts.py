"""Correlated star formation of the extended regulator model, its time scales fixed or free."""

import numpy as np
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary, adjust_stochastic_params
from shared import HST, JWST, catalog, fixed

from prospect_emu import EmulatorSPS

run_params = {"zred": 4.0}


def build_obs(**extras):
    return catalog(HST[2:] + JWST, brightness=1e-11)


def build_model(zred=4.0, tuniv=1.5, **extras):
    params = TemplateLibrary["stochastic_sfh"]
    params.update(TemplateLibrary["nebular"])
    params.update(TemplateLibrary["igm"])
    params["zred"] = fixed(zred)
    edges = [0.0, *np.linspace(6.5, np.log10(tuniv * 1e9), 8)]
    params["agebins"]["init"] = np.array([edges[:-1], edges[1:]]).T
    for name, value in (
        ("sigma_reg", 0.4),
        ("tau_eq", 1.0),
        ("sigma_dyn", 0.03),
        ("tau_dyn", 0.03),
    ):
        params[name] = fixed(value)
    return SpecModel(adjust_stochastic_params(params, tuniv=tuniv))


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
