"""Masses in bins of age with a prior on each, in a list of parameter dictionaries."""

import numpy as np
from prospect.models import SedModel, priors
from shared import HST, MID_IR, OPTICAL, catalog

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.3, "edges": [0.0, 7.5, 8.0, 8.5, 9.0, 9.5, 10.0]}


def build_obs(**kwargs):
    return catalog(OPTICAL + HST[2:] + MID_IR[:2])


def entry(name, init, prior=None, **more):
    n = np.size(init)
    return {"name": name, "N": n, "init": init, "isfree": prior is not None, "prior": prior, **more}


def build_model(zred=0.3, edges=(0.0, 8.0, 9.0, 10.0), **kwargs):
    bins = np.array([edges[:-1], edges[1:]]).T
    n = len(bins)
    return SedModel(
        [
            entry("zred", zred),
            entry(
                "mass", np.full(n, 1e8),
                priors.LogUniform(mini=np.full(n, 1e5), maxi=np.full(n, 1e12)),
            ),
            {"name": "agebins", "N": n, "init": bins, "isfree": False},
            entry("logzsol", -0.2, priors.TopHat(mini=-1.0, maxi=0.19)),
            entry("imf_type", 1),
            entry("dust_type", 2),
            entry("dust2", 0.2, priors.TopHat(mini=0.0, maxi=2.0)),
            entry("sfh", 3),
            entry("add_dust_emission", False),
        ]
    )  # fmt: skip


def build_sps(zcontinuous=1, **extras):
    return EmulatorSPS(zcontinuous=zcontinuous, compute_vega_mags=False, interp_type="logarithmic")


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
