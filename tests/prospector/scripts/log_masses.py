"""The logarithm of the mass in each bin is free, the total follows."""

import numpy as np
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from shared import HST, OPTICAL, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.4}
EDGES = np.array([0.0, 7.7, 8.3, 8.9, 9.4, 9.95])


def masses(log_mass_bins=None, **extras):
    return 10 ** np.asarray(log_mass_bins)


def build_obs(**extras):
    return catalog(OPTICAL + HST)


def build_model(zred=0.4, **extras):
    params = TemplateLibrary["logm_sfh"]
    n = EDGES.size - 1
    params["zred"] = fixed(zred)
    params["agebins"] = fixed(np.array([EDGES[:-1], EDGES[1:]]).T, n=n)
    params["log_mass_bins"] = free(
        np.full(n, 8.0), priors.Normal(mean=np.full(n, 8.5), sigma=np.full(n, 0.8)), n=n
    )
    params["mass"] = fixed(np.ones(n), n=n, depends_on=masses)
    params["dust_type"]["init"] = 3
    params["wgp1"], params["wgp2"], params["wgp3"] = fixed(5), fixed(1), fixed(1)
    return SpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
