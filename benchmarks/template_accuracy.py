"""Prospector's templates against FSPS: drop-in and compiled photometry (needs python-fsps).

    python benchmarks/template_accuracy.py [TEMPLATE ...] [--draws 4] [--zred 0.8]

25 bands of sedpy and a curve of one's own, draws of the prior, through `SpecModel.predict` with
`FastStepBasis` or `CSPSpecBasis`, with `EmulatorSPS()`, and through `BatchedPosterior`. Printed is
the largest relative difference, in bands brighter than 1e-6 of the draw's brightest.
"""

import argparse
import warnings

import numpy as np
from prospect.sources import CSPSpecBasis, FastStepBasis
from prospect.utils.obsutils import fix_obs
from sedpy.observate import Filter, load_filters

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.errors import RangeError
from prospect_emu.parameters import DEFAULTS
from prospect_emu.prospector.templates import template_model

TEMPLATES = (
    "ssp", "parametric_sfh", "parametric_sfh+burst_sfh", "continuity_sfh", "continuity_flex_sfh",
    "continuity_psb_sfh", "dirichlet_sfh", "logm_sfh", "stochastic_sfh", "alpha",
)  # fmt: skip
MORE = "+dust_emission+nebular+igm+agn"
BANDS = (
    "galex_FUV galex_NUV sdss_u0 sdss_g0 sdss_r0 sdss_i0 sdss_z0 twomass_J twomass_H twomass_Ks "
    "spitzer_irac_ch1 spitzer_irac_ch2 spitzer_irac_ch3 spitzer_irac_ch4 spitzer_mips_24 "
    "wise_w1 wise_w3 herschel_pacs_70 herschel_pacs_160 herschel_spire_350 acs_wfc_f606w "
    "wfc3_ir_f160w jwst_f277w jwst_f444w jwst_f1500w"
).split()
FAINT = 1e-6
SET_BY_TEMPLATES = (
    "add_dust_emission", "duste_qpah", "duste_umin", "duste_gamma", "add_neb_emission", "gas_logz",
    "gas_logu", "add_igm_absorption", "fagn", "agn_tau", "dust1", "dust_index", "fburst", "tburst",
    "sf_trunc", "const", "igm_factor",
)  # fmt: skip


def own_curve():
    """A box from 0.50 to 0.62 micron with sloping edges."""
    wave = np.linspace(4900.0, 6300.0, 141)
    through = np.clip(np.minimum(wave - 4950.0, 6250.0 - wave) / 50.0, 0.0, 1.0)
    return Filter("own_curve", data=(wave, through))


def differences(name, sources, filters, zred, draws):
    """Largest relative differences from FSPS of drop-in and compiled fluxes."""
    model, _ = template_model(name, zred)
    n = len(filters)
    obs = {
        "filters": filters, "maggies": np.full(n, 1e-8), "maggies_unc": np.full(n, 1e-9),
        "phot_mask": np.ones(n, dtype=bool), "wavelength": None, "spectrum": None,
    }  # fmt: skip
    emulated = EmulatorSPS()
    posterior = BatchedPosterior(model, obs, emulated)
    theta = posterior.prior_transform(np.random.default_rng(7).random((draws, model.ndim)))
    fsps = sources["bins" if "agebins" in model.params else "parametric"]
    # FSPS keeps what the last model set: what this one is silent about is its default.
    model.set_parameters(theta[0])
    silent = {k: v for k, v in DEFAULTS.items() if k in SET_BY_TEMPLATES and k not in model.params}
    fsps.update(**silent)

    def predict(sps):
        out = []
        for row in theta:
            try:
                model.set_parameters(row)
                out.append(model.predict(row, obs=fix_obs(dict(obs)), sps=sps)[1])
            except (ValueError, RangeError):
                # Flexible bins that Prospector refuses.
                out.append(np.full(n, np.nan))
        return np.array(out)

    exact = predict(fsps)
    with np.errstate(invalid="ignore"):
        bright = exact > FAINT * exact.max(axis=1, keepdims=True)
    return [
        np.abs(flux / exact - 1.0)[bright].max(initial=0.0) if bright.any() else np.nan
        for flux in (predict(emulated), posterior.maggies(theta))
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("templates", nargs="*", default=TEMPLATES)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--zred", type=float, default=0.8)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    filters = [*load_filters(BANDS), own_curve()]
    sources = {"bins": FastStepBasis(zcontinuous=1), "parametric": CSPSpecBasis(zcontinuous=1)}
    print(f"z = {args.zred}, {len(filters)} bands, {args.draws} draws")
    print(f"{'model':60s} {'drop-in':>8s} {'compiled':>8s}")
    for name in args.templates:
        for more in ("", MORE):
            found = differences(name + more, sources, filters, args.zred, args.draws)
            print(f"{name + more:60s} " + " ".join(f"{d:8.1e}" for d in found), flush=True)


if __name__ == "__main__":
    main()
