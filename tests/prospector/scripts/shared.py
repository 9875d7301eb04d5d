"""What these parameter files share: mock catalogues, entries of a model, the command line."""

import numpy as np
from prospect.fitting import fit_model
from prospect.utils import prospect_args
from sedpy.observate import load_filters

OPTICAL = ["sdss_u0", "sdss_g0", "sdss_r0", "sdss_i0", "sdss_z0"]
NEAR_IR = ["twomass_J", "twomass_H", "twomass_Ks"]
ULTRAVIOLET = ["galex_FUV", "galex_NUV"]
MID_IR = ["spitzer_irac_ch1", "spitzer_irac_ch2", "spitzer_irac_ch3", "spitzer_irac_ch4"]
FAR_IR = ["spitzer_mips_24", "herschel_pacs_100", "herschel_pacs_160", "herschel_spire_250"]
HST = ["acs_wfc_f435w", "acs_wfc_f606w", "acs_wfc_f814w", "wfc3_ir_f125w", "wfc3_ir_f160w"]
JWST = ["jwst_f115w", "jwst_f150w", "jwst_f200w", "jwst_f277w", "jwst_f356w", "jwst_f444w"]


def fixed(init, n=1, **more):
    return {"N": n, "isfree": False, "init": init, **more}


def free(init, prior, n=1, **more):
    return {"N": n, "isfree": True, "init": init, "prior": prior, **more}


def catalog(bands, seed=1, brightness=1e-9, error=0.05, **more):
    """An obs of a galaxy with a Balmer break near 0.7 micron and dust that shines, with noise."""
    filters = load_filters(bands) if isinstance(bands[0], str) else bands
    micron = np.array([f.wave_effective for f in filters]) / 1e4
    flux = 0.2 + micron**0.7 / (1 + (micron / 0.6) ** -3) / (1 + (micron / 5) ** 2)
    flux = brightness * (flux + 8 * (micron / 60) ** 2 / (1 + (micron / 150) ** 4))
    rng = np.random.default_rng(seed)
    return {
        "filters": filters,
        "phot_wave": 1e4 * micron,
        "maggies": flux * (1 + error * rng.standard_normal(flux.size)),
        "maggies_unc": error * flux,
        "wavelength": None,
        "spectrum": None,
        "unc": None,
        "mask": None,
        **more,
    }


def main(build_obs, build_model, build_sps, build_noise, run_params=None, parser=None):
    """What a parameter file does when it is run: fit, and write the result."""
    from prospect.io import write_results

    parser = parser or prospect_args.get_parser()
    settings = {**(run_params or {}), **vars(parser.parse_args())}
    obs, model = build_obs(**settings), build_model(**settings)
    sps, noise = build_sps(**settings), build_noise(**settings)
    output = fit_model(obs, model, sps, noise, **settings)
    write_results.write_hdf5(
        f"{settings['outfile']}_mcmc.h5", settings, model, obs, output["sampling"][0], None,
        sps=sps,
    )  # fmt: skip
