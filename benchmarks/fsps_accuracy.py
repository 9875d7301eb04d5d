"""Random models against FSPS: drop-in and compiled photometry (needs python-fsps).

    python benchmarks/fsps_accuracy.py [ROW ...] [--seed N] [--draws 4] [--repeat 1] [--zred Z]

Rows are templates of Prospector, dust laws, IMFs, histories, switches, parameters, and random
combinations of all: parts of their names choose them ("dust_type", "free zred"). Each is a model
of Prospector with a random history and redshift, in 25 bands of sedpy and a curve of one's own,
for draws of its prior: `SpecModel.predict` with `FastStepBasis` or `CSPSpecBasis`, with
`EmulatorSPS()`, and `BatchedPosterior.maggies`. Printed is the largest relative difference from
FSPS, in bands brighter than 1e-6 of the draw's brightest, and where it is. FSPS takes ten seconds
for each metallicity that it meets: `--everywhere` for all of them, else a random pair of
neighbours.
"""

import argparse
import secrets
import warnings
from zlib import crc32

import numpy as np
from prospect.models import SpecModel, priors
from prospect.sources import CSPSpecBasis, FastStepBasis
from prospect.utils.obsutils import fix_obs
from sedpy.observate import Filter, getSED, load_filters

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.cosmology import LIGHTSPEED, MAGGIE, age_of_universe, flux_factor
from prospect_emu.errors import RangeError
from prospect_emu.fit.predictions import ModelFluxes
from prospect_emu.parameters import DEFAULTS
from prospect_emu.prospector.templates import template_params
from prospect_emu.sps.fold import compile_sps
from prospect_emu.sps.ingredients import find_ingredients

TEMPLATES = (
    "ssp", "parametric_sfh", "parametric_sfh+burst_sfh", "continuity_sfh", "continuity_flex_sfh",
    "continuity_psb_sfh", "dirichlet_sfh", "logm_sfh", "alpha", "beta",
)  # fmt: skip
MORE = "+dust_emission+nebular+igm+agn"
HISTORIES = ("steps", "moving steps", "sfh=0", "sfh=1", "sfh=4", "sfh=5", "components")
BANDS = (
    "galex_FUV galex_NUV sdss_u0 sdss_g0 sdss_r0 sdss_i0 sdss_z0 twomass_J twomass_H twomass_Ks "
    "spitzer_irac_ch1 spitzer_irac_ch2 spitzer_irac_ch3 spitzer_irac_ch4 spitzer_mips_24 "
    "wise_w1 wise_w3 herschel_pacs_70 herschel_pacs_160 herschel_spire_350 acs_wfc_f606w "
    "wfc3_ir_f160w jwst_f277w jwst_f444w jwst_f1500w"
).split()
FAINT = 1e-6
ZRED = 0.01, 8.0
# Limits of what a row may free; (low, high, whether evenly in the logarithm).
LIMITS = {
    "dust1": (0.0, 2.0, False), "dust1_index": (-1.6, -0.4, False), "dust2": (0.0, 2.0, False),
    "dust3": (0.0, 1.0, False), "frac_nodust": (0.0, 0.8, False), "frac_obrun": (0.0, 0.8, False),
    "gas_logz": (-2.0, 0.5, False), "gas_logu": (-4.0, -1.0, False),
    "duste_qpah": (0.5, 7.0, False), "duste_umin": (0.1, 25.0, False),
    "duste_gamma": (1e-3, 0.3, True), "fagn": (1e-4, 3.0, True), "agn_tau": (5.0, 150.0, True),
    "igm_factor": (0.5, 1.8, False),
}  # fmt: skip
# Beyond FSPS's tables, and its usual values.
BEYOND = {
    "gas_logz": (-3.0, 1.0, False), "gas_logu": (-5.0, 0.0, False),
    "duste_qpah": (0.0, 10.0, False), "duste_umin": (0.01, 25.0, False),
    "duste_gamma": (0.0, 1.0, False), "agn_tau": (1.0, 400.0, True), "dust2": (0.0, 8.0, False),
    "dust1": (0.0, 8.0, False), "fagn": (1e-6, 30.0, True), "igm_factor": (0.0, 4.0, False),
}  # fmt: skip
LAWS = {
    0: {"dust_index": (-2.0, 0.4, False)},
    1: {"mwr": (2.2, 5.5, False), "uvb": (0.0, 3.0, False)},
    2: {},
    3: {},
    4: {"dust_index": (-1.2, 0.4, False)},
    5: {},
    6: {},
}
SWITCHES = {
    "add_neb_emission": False, "add_neb_continuum": False, "nebemlineinspec": False,
    "add_dust_emission": False, "fagn": 0.0, "add_igm_absorption": False,
}  # fmt: skip


def fixed(value):
    return {"N": np.size(value), "isfree": False, "init": value}


def free(low, high, log=False, size=1):
    prior = (priors.LogUniform if log else priors.TopHat)(mini=low, maxi=high)
    return {"N": size, "isfree": True, "init": np.full(size, np.sqrt(low * high) if log else
            0.5 * (low + high)), "prior": prior}  # fmt: skip


def vary(rng, limits, chance=1.0, size=1):
    """Each parameter free with some chance, else anywhere in its limits."""
    out = {}
    for name, (low, high, log) in limits.items():
        if rng.random() < chance:
            out[name] = free(low, high, log, size)
        else:
            x = rng.random()
            out[name] = fixed(low * (high / low) ** x if log else low + (high - low) * x)
    return out


# ---- star-formation histories -------------------------------------------------------


def history(rng, kind, zred):
    """Parameters of a kind of history in a universe of that age."""
    age = float(age_of_universe(zred)) / 1e9
    if "steps" in kind:
        return steps(rng, kind, age)
    size = int(rng.integers(2, 4)) if kind == "components" else 1
    sfh = int(rng.choice((1, 4, 5))) if kind == "components" else int(kind[-1])
    out = {"sfh": fixed(sfh), "mass": free(1e8, 1e11, True, size)}
    out["tage"] = free(0.25, 0.999 * age, size=size)
    if sfh == 0:
        out["tage"] = free(1e-3, 0.999 * age, True)
        return out
    more = {"tau": (0.1, 20.0, True)}
    optional = {"sf_start": (0.0, 0.2, False), "sf_trunc": (0.3, age, False)}
    if sfh == 5:
        more["sf_trunc"] = optional.pop("sf_trunc")
        more["sf_slope"] = (-2.0, 2.0, False)
    else:
        optional |= {
            "const": (0.0, 0.5, False), "fburst": (0.0, 0.5, False),
        }  # fmt: skip
    more |= {k: v for k, v in optional.items() if rng.random() < 0.5}
    if "fburst" in more:
        more["tburst"] = (0.3, age, False)
    out |= vary(rng, more, 0.8, size)
    if rng.random() < 0.3:
        out["mass_units"] = fixed("mstar")
    return out


def steps(rng, kind, age):
    n = int(rng.integers(2, 9))
    inner = np.sort(rng.uniform(6.6, np.log10(age) + 8.97, n - 1))
    # No bin shorter than FastStepBasis allows.
    inner = 9.0 + np.log10(np.cumsum(np.diff(10.0 ** (inner - 9.0), prepend=0.0) + 2e-3))
    edges = np.concatenate([[0.0], inner, [np.log10(max(age, 10.0 ** (inner[-1] - 9) + 0.01)) + 9]])
    bins = np.stack([edges[:-1], edges[1:]], axis=1)
    out = {"mass": free(1e6, 1e11, True, n), "agebins": fixed(bins)}
    if kind == "moving steps":
        out["stretch"] = free(0.9, 1.0)
        out["agebins"] = {"N": n, "isfree": False, "init": bins, "depends_on": Stretched(bins)}
    return out


class Stretched:
    """Age bins whose lookback times are all shorter by a free factor."""

    def __init__(self, bins):
        self.bins = bins

    def __call__(self, stretch=1.0, **extras):
        out = self.bins + np.log10(np.squeeze(stretch))
        out[0, 0] = 0.0
        return out


# ---- models ---------------------------------------------------------------------


def everything(rng, kind, zred, dust_type=4, chance=1.0):
    """A model with all components on; FSPS's parameters free with some chance."""
    size = 1
    config = history(rng, kind, zred) | {
        "zred": fixed(zred), "dust_type": fixed(dust_type), "imf_type": fixed(2),
        "add_neb_emission": fixed(True), "add_neb_continuum": fixed(True),
        "nebemlineinspec": fixed(True), "add_dust_emission": fixed(True),
        "add_igm_absorption": fixed(True), "logzsol": fixed(0.0),
    }  # fmt: skip
    usual = {k: v for k, v in LIMITS.items() if k not in ("dust3", "frac_nodust", "frac_obrun")}
    config |= vary(rng, usual | LAWS[dust_type], chance, size)
    if dust_type == 3:
        for name, last in (("wgp1", 18), ("wgp2", 6), ("wgp3", 2)):
            config[name] = fixed(int(rng.integers(1, last + 1)))
    return config


def one(name, change=None, kind=None, **settings):
    """A row: everything, with a change."""

    def build(rng):
        zred = redshift(rng)
        config = everything(rng, kind or str(rng.choice(HISTORIES)), zred, **settings)
        if change is not None:
            config |= change(rng, zred)
        return config

    return name, build


def anything(rng):
    """All at random."""
    zred = redshift(rng)
    kind = str(rng.choice(HISTORIES))
    config = everything(rng, kind, zred, int(rng.integers(7)), rng.choice((0.2, 0.6, 1.0)))
    config["imf_type"] = fixed(int(rng.integers(3)))
    for name, value in SWITCHES.items():
        if rng.random() < 0.25:
            config[name] = fixed(value)
    rare = {k: LIMITS[k] for k in ("dust3", "frac_nodust") if rng.random() < 0.25}
    if rng.random() < 0.15:
        rare["frac_obrun"] = LIMITS["frac_obrun"]
    config |= vary(rng, rare, 0.6)
    if rng.random() < 0.2:
        config["dust_tesc"] = fixed(float(rng.choice((5.8, 6.5, 7.5, 8.0))))
    if rng.random() < 0.1:
        config["add_agb_dust_model"] = fixed(False)
    if rng.random() < 0.3:
        config["zred"] = free(*around(zred))
    if rng.random() < 0.2:
        config["lumdist"] = fixed(float(rng.uniform(10.0, 5000.0)))
    if kind == "components" and rng.random() < 0.5:
        config["dust2"] = free(0.0, 2.0, size=config["mass"]["N"])
    return config


def around(zred):
    """A range of redshifts that holds it, never beyond the age that its history has."""
    return 0.6 * zred, zred


def redshift(rng):
    return float(np.expm1(rng.uniform(*np.log1p(ZRED))))


def template(name, zred_free=False):
    def build(rng):
        zred = redshift(rng)
        config, _ = template_params(name, zred)
        if zred_free and "nzsfh" not in config:
            config["zred"] = free(*around(zred))
        return config

    return name + (" (free zred)" if zred_free else ""), build


def rows(repeat):
    """(name, function of a random generator) of all rows."""
    out = [template(n + more, z) for z in (False, True) for n in TEMPLATES for more in ("", MORE)]
    for kind in HISTORIES:
        out.append(one(f"history {kind}", kind=kind))
    for law in LAWS:
        out.append(one(f"dust_type={law}", kind="steps", dust_type=law))
        out.append(one(f"dust_type={law}, fixed", dust_type=law, chance=0.0))
        everywhere = {k: LIMITS[k] for k in ("dust3", "frac_nodust")}
        out.append(
            one(f"dust_type={law}, dust3, frac_nodust", lambda r, z, m=everywhere: vary(r, m),
                dust_type=law)
        )  # fmt: skip
    for imf in (0, 1, 2):
        out.append(one(f"imf_type={imf}", lambda r, z, i=imf: {"imf_type": fixed(i)}))
    for name, value in SWITCHES.items():
        out.append(one(f"{name}={value}", lambda r, z, k=name, v=value: {k: fixed(v)}))
    out.append(one("frac_obrun", lambda r, z: vary(r, {"frac_obrun": LIMITS["frac_obrun"]})))
    out.append(
        one("frac_obrun, fixed", lambda r, z: vary(r, {"frac_obrun": LIMITS["frac_obrun"]}, 0.0))
    )
    for tesc in (5.6, 6.5, 7.7, 9.0):
        out.append(one(f"dust_tesc={tesc}", lambda r, z, t=tesc: {"dust_tesc": fixed(t)}))
    out.append(one("no dust", lambda r, z: {k: fixed(0.0) for k in ("dust1", "dust2")}))
    out.append(one("dust1 alone", lambda r, z: {"dust2": fixed(0.0)}))
    out.append(one("add_agb_dust_model=False", lambda r, z: {"add_agb_dust_model": fixed(False)}))
    out.append(one("lumdist", lambda r, z: {"lumdist": fixed(float(r.uniform(1.0, 1e3)))}))
    out.append(one("free lumdist", lambda r, z: {"lumdist": free(10.0, 100.0)}))
    out.append(one("free zred", lambda r, z: {"zred": free(*around(z))}))
    out.append(one("free zred, lines apart", lambda r, z: {
        "zred": free(*around(z)), "nebemlineinspec": fixed(False)}))  # fmt: skip
    out.append(one("zred=0", lambda r, z: {"zred": fixed(0.0)}))
    out.append(one("beyond the tables", lambda r, z: vary(r, BEYOND)))
    out.append(("tabular", None))
    return [*out, *((f"random {i}", anything) for i in range(12))] * repeat


# ---- comparison -----------------------------------------------------------------


def own_curve():
    """A box from 0.50 to 0.62 micron with sloping edges."""
    wave = np.linspace(4900.0, 6300.0, 141)
    through = np.clip(np.minimum(wave - 4950.0, 6250.0 - wave) / 50.0, 0.0, 1.0)
    return Filter("own_curve", data=(wave, through))


class Reference:
    """Prospector's FSPS; one for both kinds of history, as FSPS has one state per process."""

    def __init__(self):
        self.steps = FastStepBasis(zcontinuous=1)
        self.parametric = CSPSpecBasis(zcontinuous=1)
        self.parametric.ssp = self.steps.ssp

    def __call__(self, params):
        """The right one for a model, as if it had computed nothing yet."""
        sps = self.steps if "agebins" in params else self.parametric
        sps.params = {}
        for name in self.steps.ssp.params.all_params:
            self.steps.ssp.params[name] = DEFAULTS[name]
        return sps


def differences(config, reference, filters, draws, rng, what):
    """Relative differences (draws, nband) of drop-in and compiled fluxes, NaN where faint; a note.

    With `what` "compiled" these are the drop-in's from itself and the compiled from the drop-in.
    """
    model = SpecModel(config)
    n = len(filters)
    obs = {
        "filters": filters, "maggies": np.full(n, 1e-8), "maggies_unc": np.full(n, 1e-9),
        "phot_mask": np.ones(n, dtype=bool), "wavelength": None, "spectrum": None,
    }  # fmt: skip
    emulated, posterior = EmulatorSPS(), None
    theta = np.array([model.prior_transform(u) for u in rng.random((draws, model.ndim))])
    if what != "drop-in":
        posterior = BatchedPosterior(model, obs, emulated)

    def predict(sps):
        out = []
        for row in theta:
            try:
                model.set_parameters(row)
                out.append(model.predict(row, obs=fix_obs(dict(obs)), sps=sps)[1])
            except (ValueError, RangeError, AssertionError):
                # Flexible bins that Prospector refuses, histories at which FSPS stops.
                out.append(np.full(n, np.nan))
        return np.array(out)

    dropped = predict(emulated)
    exact = dropped if what == "compiled" else predict(reference(model.params))
    batched = exact if posterior is None else posterior.maggies(theta)
    note = ""
    if posterior is not None:
        exactly = posterior.predictions
        if isinstance(exactly, ModelFluxes):
            note = "(not compiled)"
        elif not exactly.compiled.folded:
            note = "(whole spectra)"
    return [relative(flux, exact) for flux in (dropped, batched)], note


def relative(flux, exact):
    with np.errstate(invalid="ignore", divide="ignore"):
        bright = exact > FAINT * exact.max(axis=1, keepdims=True)
        return np.where(bright, np.abs(flux / exact - 1.0), np.nan)


def tabular(reference, filters, draws, rng, logz):
    """As `differences`, of tables of star-formation rates, which are no model of Prospector."""
    zred, n = redshift(rng), int(rng.integers(5, 40))
    age = float(age_of_universe(zred)) / 1e9
    time = np.concatenate([[0.0], np.sort(rng.uniform(0.0, age, n - 2)), [age]])
    sfr = 10.0 ** rng.normal(0.0, 0.7, (draws, n))
    params = {
        "imf_type": 2, "zred": zred, "dust_type": 4, "dust1": 0.4, "dust2": 0.3, "tage": 0.97 * age,
        "add_neb_emission": True, "add_igm_absorption": True,
        "logzsol": float(rng.uniform(*logz)),
    }  # fmt: skip
    fsps = reference({}).ssp
    for name, value in params.items():
        fsps.params[name] = value
    fsps.params["sfh"] = 3
    exact = []
    for row in sfr:
        fsps.set_tabular_sfh(time, row)
        wave, lnu = fsps.get_spectrum(tage=params["tage"])
        seen = wave * (1.0 + zred)
        flambda = lnu * flux_factor(zred) * MAGGIE * LIGHTSPEED / seen**2
        exact.append(getSED(seen, flambda, filters, linear_flux=True))
    compiled = compile_sps(
        find_ingredients(imf_type=2), filters, params | {"tabular_time": time}, ("tabular_sfr",),
        quadrature="sedpy",
    )  # fmt: skip
    given = {"tabular_sfr": sfr}
    flux = compiled.direct(given), compiled.maggies(given)
    return [relative(f, np.array(exact)) for f in flux], ""


def limit_metallicity(config, logz):
    if "nzsfh" not in config:
        config["logzsol"] = free(*logz)
        return
    # Of the joint prior of Prospector-beta.
    prior = config["nzsfh"]["prior"]
    prior.params |= dict(zip(("z_mini", "z_maxi"), logz, strict=True))


def stars(config):
    """What FSPS computes anew for: IMF and AGB dust."""
    return tuple(
        int(np.squeeze(config[k]["init"])) if k in config else int(DEFAULTS[k])
        for k in ("imf_type", "add_agb_dust_model")
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("rows", nargs="*", help="parts of names; default all")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(10**6))
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--repeat", type=int, default=1)
    parser.add_argument("--zred", type=float)
    parser.add_argument(
        "--only", choices=("drop-in", "compiled"),
        help="compile nothing, or compare the compiled with the drop-in, without FSPS",
    )  # fmt: skip
    parser.add_argument("--everywhere", action="store_true", help="at all metallicities")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    if args.zred is not None:
        globals()["ZRED"] = args.zred, args.zred
    filters = [*load_filters(BANDS), own_curve()]
    grid = find_ingredients(imf_type=2).logz
    cell = int(np.random.default_rng(args.seed).integers(grid.size - 1))
    logz = (-2.0, 0.19) if args.everywhere else (float(grid[cell]), float(grid[cell + 1]))
    wanted = []
    for i, (name, build) in enumerate(rows(args.repeat)):
        if args.rows and not any(part in name for part in args.rows):
            continue
        if build is None and args.only == "compiled":
            continue
        rng = np.random.default_rng([args.seed, crc32(name.encode()), i])
        config = None if build is None else build(rng)
        wanted.append(((2, 1) if config is None else stars(config), name, config, rng))
    print(
        f"seed {args.seed}: {len(wanted)} models, {args.draws} draws, {len(filters)} bands, "
        f"logzsol {logz[0]:.2f} to {logz[1]:.2f}"
    )
    print(f"{'model':60s} {'drop-in':>8s} {'compiled':>8s}  z, band of the latter")
    reference = None if args.only == "compiled" else Reference()
    names = [f.name for f in filters]
    for _, name, config, rng in sorted(wanted, key=lambda w: w[0]):
        zred = "" if config is None else f"{float(np.squeeze(config['zred']['init'])):.2f}"
        try:
            if config is None:
                off, note = tabular(reference, filters, args.draws, rng, logz)
            else:
                limit_metallicity(config, logz)
                off, note = differences(config, reference, filters, args.draws, rng, args.only)
        except Exception as err:
            print(f"{name:60s} fails: {type(err).__name__}: {err}", flush=True)
            continue
        worst = [np.nanmax(o, initial=0.0) for o in off]
        if np.isnan(off[0]).all():
            worst = [np.nan, np.nan]
        band = names[int(np.argmax(np.nan_to_num(off[args.only != "drop-in"])) % len(names))]
        print(f"{name:60s} {worst[0]:8.1e} {worst[1]:8.1e}  {zred} {band} {note}", flush=True)


if __name__ == "__main__":
    main()
