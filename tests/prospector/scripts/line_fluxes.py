"""Fluxes of a green pea's emission lines beside its photometry; a band without data."""

import numpy as np
from prospect.models import priors
from prospect.models.sedmodel import LineSpecModel
from prospect.models.templates import TemplateLibrary
from shared import OPTICAL, ULTRAVIOLET, catalog, fixed, free

from prospect_emu import EmulatorSPS

run_params = {"zred": 0.3}
# As FSPS counts them: [O II] 3726, 3729, H beta, [O III] 4959, 5007, H alpha.
WAVE = [3727.1, 3729.86, 4862.71, 4960.295, 5008.24, 6564.6]


def build_obs(**extras):
    known = EmulatorSPS().ssp.emline_wavelengths
    index = [int(np.argmin(np.abs(known - w))) for w in WAVE]
    flux = np.array([1.0, 1.3, 2.0, 3.0, 9.0, 6.0]) * 1e-16
    data = catalog(ULTRAVIOLET + OPTICAL, wavelength=known[index], spectrum=flux, unc=0.1 * flux)
    # The band without data.
    data["maggies"][0] = np.nan
    data["phot_mask"] = np.isfinite(data["maggies"])
    return data | {"mask": np.ones(flux.size, dtype=bool), "line_ind": index}


def build_model(zred=0.3, **extras):
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary["nebular"])
    params["zred"] = fixed(zred)
    params["nebemlineinspec"]["init"] = False
    params["gas_logu"]["isfree"] = True
    params["frac_obrun"] = free(0.1, priors.ClippedNormal(mean=0.0, sigma=0.5, mini=0.0, maxi=1.0))
    params["linespec_scaling"] = free(1.0, priors.TopHat(mini=0.8, maxi=1.2))
    return LineSpecModel(params)


def build_sps(**extras):
    return EmulatorSPS(zcontinuous=1)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
