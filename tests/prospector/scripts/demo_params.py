"""A dwarf with ultraviolet to mid-infrared photometry and a delayed tau model; arguments choose."""

from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from prospect.utils import prospect_args
from shared import MID_IR, NEAR_IR, OPTICAL, ULTRAVIOLET, catalog, fixed

from prospect_emu import EmulatorSPS

run_params = {"object_redshift": 0.05, "add_duste": True, "luminosity_distance": 220.0}


def build_obs(objid=0, phottable=None, **kwargs):
    return catalog(ULTRAVIOLET + OPTICAL + NEAR_IR + MID_IR, seed=int(objid), brightness=1e-8)


def build_model(
    object_redshift=0.0, fixed_metallicity=None, add_duste=False, add_neb=False,
    luminosity_distance=0.0, **kwargs,
):  # fmt: skip
    params = TemplateLibrary["parametric_sfh"]
    if luminosity_distance > 0:
        params["lumdist"] = fixed(luminosity_distance, units="Mpc")
    params["zred"] = fixed(object_redshift or 0.0)
    params["dust2"]["init"], params["logzsol"]["init"], params["tage"]["init"] = 0.1, -0.3, 13.0
    params["mass"]["init"] = 1e8
    params["dust2"]["prior"] = priors.TopHat(mini=0.0, maxi=2.0)
    params["tau"]["prior"] = priors.LogUniform(mini=1e-1, maxi=1e2)
    params["mass"]["prior"] = priors.LogUniform(mini=1e6, maxi=1e10)
    params["mass"]["init_disp"], params["tau"]["disp_floor"] = 5e7, 1.0
    if fixed_metallicity is not None:
        params["logzsol"] = fixed(fixed_metallicity)
    if add_duste:
        params.update(TemplateLibrary["dust_emission"])
    if add_neb:
        params.update(TemplateLibrary["nebular"])
    return SpecModel(params)


def build_sps(zcontinuous=1, compute_vega_mags=False, **extras):
    return EmulatorSPS(zcontinuous=zcontinuous, compute_vega_mags=compute_vega_mags)


def build_noise(**extras):
    return None, None


if __name__ == "__main__":
    from shared import main

    parser = prospect_args.get_parser()
    parser.add_argument("--object_redshift", type=float, default=0.05)
    parser.add_argument("--add_neb", action="store_true")
    parser.add_argument("--add_duste", action="store_true")
    parser.add_argument("--luminosity_distance", type=float, default=220.0)
    parser.add_argument("--fixed_metallicity", type=float, default=None)
    parser.add_argument("--objid", type=int, default=0)
    main(build_obs, build_model, build_sps, build_noise, run_params, parser)
