"""Post-starburst galaxy: three fixed, five flexible bins and the youngest (Suess et al.)."""

import numpy as np
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import HST, JWST, catalog, fixed

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.75}


def build_obs(**extras):
    return catalog(HST + JWST, brightness=1e-9)


def build_model(zred=0.75, **extras):
    params = TemplateLibrary["continuity_psb_sfh"]
    params.update(TemplateLibrary["dust_emission"])
    params.update(TemplateLibrary["nebular"])
    params["zred"] = fixed(zred)
    params["dust_type"]["init"] = 4
    params["dust_index"] = fixed(-0.7)
    params["dust1"] = fixed(0.0, depends_on=lambda dust2=0.0, **extras: dust2)
    params["logzsol"]["prior"] = priors.ClippedNormal(mean=0.0, sigma=0.2, mini=-1.0, maxi=0.19)
    end = 7.0
    edges = np.array([1, 0.2e9, *np.linspace(0.4e9, 2e9, 5), *np.linspace(2, end, 4)[1:] * 1e9])
    params["agebins"]["init"] = np.log10(np.array([edges[:-1], edges[1:]]).T)
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
