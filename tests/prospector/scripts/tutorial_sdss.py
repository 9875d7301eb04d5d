"""First steps: five bands of SDSS and a delayed tau model at the catalogue's redshift."""

import sys

import numpy as np
from prospect.fitting import fit_model
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary
from sedpy.observate import load_filters

from prospect_emu import EmulatorSPS

run_params = {"dynesty": True, "optimize": False, "emcee": False, "nested_method": "rwalk"}


def build_obs(**kwargs):
    mag = np.array([18.81, 17.10, 16.43, 16.04, 15.80])
    flux = 10 ** (-0.4 * mag)
    obs = {
        "filters": load_filters([f"sdss_{b}0" for b in "ugriz"]),
        "maggies": flux,
        "maggies_unc": 0.05 * flux,
        "phot_mask": np.ones(5, dtype=bool),
        "wavelength": None,
        "spectrum": None,
        "unc": None,
        "redshift": 0.0758,
    }
    obs["phot_wave"] = np.array([f.wave_effective for f in obs["filters"]])
    return obs


def build_model(object_redshift=0.0758, **kwargs):
    params = TemplateLibrary["parametric_sfh"]
    params.update(TemplateLibrary["nebular"])
    params["zred"]["init"] = object_redshift
    params["mass"]["init"], params["tau"]["init"] = 1e9, 1.0
    return SpecModel(params)


def build_sps(**kwargs):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**kwargs):
    return None, None


if __name__ == "__main__":
    obs, model, sps = build_obs(), build_model(), build_sps()
    print(model)
    output = fit_model(obs, model, sps, noise=build_noise(), nested_target_n_effective=400)
    np.save(sys.argv[1] if len(sys.argv) > 1 else "chain.npy", output["sampling"][0].samples)
