"""The parameters of FSPS: names, units, labels, defaults and what each acts on.

One entry per parameter of python-fsps. The spectrum follows those that act on
the star-formation history, the gas, the dust, the AGN or the intergalactic gas;
`INGREDIENTS` were decided when the simple stellar populations were computed, so
that each file of ingredients allows one value of them; `FIXED` have a single
value here. Nothing else is a parameter of FSPS, and an unknown name is an error.
"""

import difflib
from dataclasses import dataclass
from typing import Any

STARS = "simple stellar populations"
SFH = "star-formation history"
METALS = "stellar metallicity"
GAS = "nebular emission"
ATTENUATION = "dust attenuation"
EMISSION = "dust emission"
AGN = "AGN torus"
IGM = "intergalactic gas"
OUTPUT = "output only"


@dataclass(frozen=True)
class Parameter:
    """A parameter of FSPS.

    Attributes
    ----------
    name : str
        As in python-fsps.
    default
        python-fsps's.
    acts_on : str
    unit : str
        Empty where it has none.
    label : str
        For figures, in TeX where it helps.
    """

    name: str
    default: Any
    acts_on: str
    unit: str = ""
    label: str = ""


_TABLE = (
    # Star-formation history.
    Parameter("sfh", 0, SFH),
    Parameter("tage", 0.0, SFH, "Gyr", r"$t_{\rm age}$"),
    Parameter("tau", 1.0, SFH, "Gyr", r"$\tau$"),
    Parameter("const", 0.0, SFH, "", r"$f_{\rm const}$"),
    Parameter("sf_start", 0.0, SFH, "Gyr", r"$t_{\rm start}$"),
    Parameter("sf_trunc", 0.0, SFH, "Gyr", r"$t_{\rm trunc}$"),
    Parameter("sf_slope", 0.0, SFH, "1/Gyr", r"$m_{\rm SF}$"),
    Parameter("fburst", 0.0, SFH, "", r"$f_{\rm burst}$"),
    Parameter("tburst", 11.0, SFH, "Gyr", r"$t_{\rm burst}$"),
    Parameter("logzsol", 0.0, METALS, "dex", r"$\log(Z/Z_\odot)$"),
    # Gas.
    Parameter("add_neb_emission", False, GAS),
    Parameter("add_neb_continuum", True, GAS),
    Parameter("nebemlineinspec", True, GAS),
    Parameter("gas_logz", 0.0, GAS, "dex", r"$\log(Z_{\rm gas}/Z_\odot)$"),
    Parameter("gas_logu", -2, GAS, "dex", r"$\log U$"),
    # Attenuation.
    Parameter("dust_type", 0, ATTENUATION),
    Parameter("dust_tesc", 7.0, ATTENUATION, "log(yr)", r"$\log t_{\rm esc}$"),
    Parameter("dust1", 0.0, ATTENUATION, "", r"$\hat\tau_1$"),
    Parameter("dust1_index", -1.0, ATTENUATION, "", r"$n_1$"),
    Parameter("dust2", 0.0, ATTENUATION, "", r"$\hat\tau_2$"),
    Parameter("dust3", 0.0, ATTENUATION, "", r"$\hat\tau_3$"),
    Parameter("dust_index", -0.7, ATTENUATION, "", r"$n$"),
    Parameter("dust_clumps", -99.0, ATTENUATION),
    Parameter("frac_nodust", 0.0, ATTENUATION, "", r"$f_{\rm no\,dust}$"),
    Parameter("frac_obrun", 0.0, ATTENUATION, "", r"$f_{\rm OB\,run}$"),
    Parameter("mwr", 3.1, ATTENUATION, "", r"$R_V$"),
    Parameter("uvb", 1.0, ATTENUATION, "", r"$f_{2175}$"),
    Parameter("wgp1", 1, ATTENUATION),
    Parameter("wgp2", 1, ATTENUATION),
    Parameter("wgp3", 1, ATTENUATION),
    # Dust emission.
    Parameter("add_dust_emission", True, EMISSION),
    Parameter("duste_qpah", 3.5, EMISSION, "%", r"$q_{\rm PAH}$"),
    Parameter("duste_umin", 1.0, EMISSION, "", r"$U_{\rm min}$"),
    Parameter("duste_gamma", 0.01, EMISSION, "", r"$\gamma_e$"),
    # AGN and intergalactic gas.
    Parameter("fagn", 0.0, AGN, "", r"$f_{\rm AGN}$"),
    Parameter("agn_tau", 10.0, AGN, "", r"$\tau_{\rm AGN}$"),
    Parameter("add_igm_absorption", False, IGM),
    Parameter("igm_factor", 1.0, IGM, "", r"$f_{\rm IGM}$"),
    Parameter("zred", 0.0, IGM, "", r"$z$"),
    # Decided when the simple stellar populations were computed.
    Parameter("imf_type", 2, STARS),
    Parameter("imf_upper_limit", 120, STARS, "Msun"),
    Parameter("imf_lower_limit", 0.08, STARS, "Msun"),
    Parameter("imf1", 1.3, STARS),
    Parameter("imf2", 2.3, STARS),
    Parameter("imf3", 2.3, STARS),
    Parameter("vdmc", 0.08, STARS),
    Parameter("mdave", 0.5, STARS),
    Parameter("masscut", 150.0, STARS, "Msun"),
    Parameter("evtype", -1, STARS),
    Parameter("add_agb_dust_model", True, STARS),
    Parameter("agb_dust", 1.0, STARS),
    Parameter("add_stellar_remnants", True, STARS),
    Parameter("tpagb_norm_type", 2, STARS),
    Parameter("dell", 0.0, STARS),
    Parameter("delt", 0.0, STARS),
    Parameter("redgb", 1.0, STARS),
    Parameter("agb", 1.0, STARS),
    Parameter("fcstar", 1.0, STARS),
    Parameter("fbhb", 0.0, STARS),
    Parameter("sbss", 0.0, STARS),
    Parameter("pagb", 1.0, STARS),
    Parameter("use_wr_spectra", 1, STARS),
    Parameter("use_lw_tpagb", 0, STARS),
    Parameter("logt_wmb_hot", 0.0, STARS),
    Parameter("add_xrb_emission", 0, STARS),
    Parameter("frac_xrb", 1.0, STARS),
    Parameter("smooth_lsf", False, STARS),
    # No part of the spectrum computed here, or of no effect on it.
    Parameter("compute_light_ages", False, OUTPUT),
    Parameter("redshift_colors", False, OUTPUT),
    Parameter("sigma_smooth", 0.0, OUTPUT, "km/s", r"$\sigma_{\rm smooth}$"),
    Parameter("min_wave_smooth", 1e3, OUTPUT, "Angstrom"),
    Parameter("max_wave_smooth", 1e4, OUTPUT, "Angstrom"),
    Parameter("smooth_velocity", True, OUTPUT),
    Parameter("zmet", 1, OUTPUT),
    Parameter("pmetals", 2.0, OUTPUT),
    Parameter("afeindx", 1, OUTPUT),
    Parameter("afe", 0.0, OUTPUT),
)
PARAMETERS = {p.name: p for p in _TABLE}
DEFAULTS = {p.name: p.default for p in _TABLE}
# Decided when the simple stellar populations were computed: one value per file.
INGREDIENTS = tuple(p.name for p in _TABLE if p.acts_on == STARS)
# FSPS's own smoothing and light-weighted ages are not done here. (Prospector
# smooths by itself; `smooth_velocity` and the rest say how.)
FIXED = {"compute_light_ages": False, "afe": 0.0}
# Matter only to some IMFs.
_IMF_ONLY = {"imf1": (2, 4), "imf2": (2, 4), "imf3": (2,), "vdmc": (3,), "mdave": (4,)}
# What comes from Prospector's bases beside FSPS's own parameters.
BASIS = ("mass", "agebins", "mass_units", "tabular_time", "tabular_sfr")


def misspelt(name):
    """The parameter that `name`, which is none, was probably meant to be; or None.

    A number after a name (``logzsol_2``) is no misspelling: components are called so.
    """
    known = [*PARAMETERS, *BASIS, "lumdist"]
    if name in known or name.rstrip("0123456789_") in known:
        return None

    def letters(text):
        return text.lower().replace("_", "")

    same = [k for k in known if letters(k) == letters(name)]
    # Of short names all are alike.
    long = [k for k in known if min(len(k), len(name)) > 4]
    return next(iter(same or difflib.get_close_matches(name, long, 1, 0.86)), None)


def matters(name, values):
    """Whether an ingredient parameter acts at all, given the others' `values` (dict)."""
    get = {**DEFAULTS, **values}.__getitem__
    if name in _IMF_ONLY:
        return get("imf_type") in _IMF_ONLY[name]
    if name == "agb_dust":
        return bool(get("add_agb_dust_model"))
    if name == "frac_xrb":
        return bool(get("add_xrb_emission"))
    return True
