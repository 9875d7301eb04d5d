"""A mock that the same model and stellar populations make, noise added, is fitted."""

import numpy as np
from prospect.models import SedModel, priors
from prospect.models.templates import TemplateLibrary
from sedpy.observate import load_filters
from shared import HST, NEAR_IR, OPTICAL, fixed

from prospect_emu import EmulatorSPS

run_params = {
    "snr": 20.0, "add_noise": True, "zred": 0.1, "add_neb": True, "add_duste": True,
    "mass": 1e10, "logzsol": -0.5, "tage": 12.0, "tau": 3.0, "dust2": 0.3, "seed": 11,
}  # fmt: skip


def build_obs(snr=10.0, add_noise=True, seed=0, **kwargs):
    filters = load_filters(OPTICAL + NEAR_IR + HST[:2])
    model, sps = build_model(**kwargs), build_sps(**kwargs)
    model.params.update({k: np.atleast_1d(kwargs[k]) for k in model.params if k in kwargs})
    obs = {"filters": filters, "wavelength": None, "spectrum": None}
    _, flux, _ = model.predict(model.theta, obs=obs, sps=sps)
    sigma = flux / snr
    noise = np.random.default_rng(seed).standard_normal(flux.size) if add_noise else 0.0
    obs.update(maggies=flux + sigma * noise, maggies_unc=sigma, true_maggies=flux.copy())
    obs["phot_mask"] = np.isfinite(flux)
    obs["mock_params"] = dict(model.params)
    return obs


def build_model(zred=0.0, add_neb=False, add_duste=False, **extras):
    params = TemplateLibrary["parametric_sfh"]
    params["zred"] = fixed(zred)
    params["tage"]["prior"] = priors.TopHat(mini=0.1, maxi=14.0)
    params["mass"]["prior"] = priors.LogUniform(mini=1e7, maxi=1e12)
    if add_neb:
        params.update(TemplateLibrary["nebular"])
    if add_duste:
        params.update(TemplateLibrary["dust_emission"])
    return SedModel(params)


def build_sps(zcontinuous=1, **extras):
    return EmulatorSPS(zcontinuous=zcontinuous)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
