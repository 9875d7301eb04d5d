"""The vector of 18 parameters of Mathews et al. (2023, table 1), the input of the networks.

`PARAMETERS` fixes names and order; `BOX` the largest range each may take; `FIXED` what is
not among them.
"""

import numpy as np

from . import sfh

RATIO_NAMES = tuple(f"logsfr_ratios_{i}" for i in range(1, sfh.NBINS))
PARAMETERS = (
    "logmass", "logzsol", *RATIO_NAMES, "dust2", "dust_index", "dust1_fraction",
    "log_fagn", "log_agn_tau", "gas_logz", "zred",
    "duste_qpah", "duste_umin", "log_duste_gamma",
)  # fmt: skip

BOX = {
    "logmass": (6.0, 12.5),
    "logzsol": (-1.98, 0.19),
    **{name: (-5.0, 5.0) for name in RATIO_NAMES},
    "dust2": (0.0, 4.0),
    "dust_index": (-1.2, 0.4),
    "dust1_fraction": (0.0, 2.0),
    "log_fagn": (-5.0, float(np.log10(3.0))),
    "log_agn_tau": (float(np.log10(5.0)), float(np.log10(150.0))),
    "gas_logz": (-2.0, 0.5),
    "zred": (0.5, 3.0),
    "duste_qpah": (0.0, 7.0),
    "duste_umin": (0.1, 25.0),
    "log_duste_gamma": (-4.0, 0.0),
}

# What FSPS and Prospector keep fixed, by their own names. EmulatorSPS compares
# a user's model with the values in the emulator's manifest.
FIXED = {
    "imf_type": 1,
    "sfh": 3,
    "dust_type": 4,
    "dust1_index": -1.0,
    "dust_tesc": 7.0,
    "gas_logu": -1.0,
    "add_neb_emission": True,
    "add_neb_continuum": True,
    "nebemlineinspec": True,
    "add_dust_emission": True,
    "add_agn_dust": True,
    "add_igm_absorption": True,
    "add_agb_dust_model": True,
    "sigma_smooth": 0.0,
    "mass_units": "mformed",
}


def fsps_parameters(vectors, durations=None):
    """FSPS's parameters by name, as `prospect_emu.sps` takes them.

    Parameters
    ----------
    vectors : ndarray, shape (n, 18)
    durations : ndarray, shape (7,), optional
        Lengths of the age bins in years, where the redshift is fixed elsewhere: then without
        ``zred`` and ``agebins``.

    Returns
    -------
    dict
        (n,) arrays; ``mass`` (n, 7) and ``agebins`` (n, 7, 2).
    """
    p = dict(zip(PARAMETERS, vectors.T, strict=True))
    ratios = vectors[:, PARAMETERS.index(RATIO_NAMES[0]) :][:, : sfh.NBINS - 1]
    place = {}
    if durations is None:
        place = {"zred": p["zred"], "agebins": sfh.agebins(p["zred"])}
        durations = sfh.bin_durations(p["zred"])
    same = ("logzsol", "dust2", "dust_index", "gas_logz", "duste_qpah", "duste_umin")
    return {
        "mass": sfh.masses_in(durations, p["logmass"], ratios),
        "dust1": p["dust1_fraction"] * p["dust2"],
        **{name: p[name] for name in same},
        **{name[len("log_") :]: 10.0 ** p[name] for name in PARAMETERS if name.startswith("log_")},
        **place,
    }


# What `derived_quantities` gives.
DERIVED = (
    "log_sfr_10", "log_sfr_30", "log_sfr_100", "log_ssfr_100", "mass_weighted_age", "t50",
    "log_stellar_mass",
)  # fmt: skip


def derived_quantities(theta, mfrac=None):
    """Physical quantities that follow from parameter vectors.

    Parameters
    ----------
    theta : array_like, shape (..., 18)
        In the order of `PARAMETERS`.
    mfrac : array_like, shape (...), optional
        Surviving mass fraction.

    Returns
    -------
    dict of ndarray, each of shape (...)
        ``log_sfr_10``, ``log_sfr_30``, ``log_sfr_100`` (log10 of the mean star-formation rate
        over so many Myr, Msun/yr), ``log_ssfr_100`` (the last per mass formed, 1/yr),
        ``mass_weighted_age`` (Gyr), ``t50`` (lookback time since which half of the mass has
        formed, Gyr) and, with `mfrac`, ``log_stellar_mass``
        (log10 of the surviving mass, Msun).
    """
    theta = np.asarray(theta, dtype=float)
    logmass, zred = theta[..., 0], theta[..., PARAMETERS.index("zred")]
    masses = sfh.bin_masses(logmass, theta[..., 2:8], zred)
    log_sfr = {t: np.log10(sfh.mean_sfr(masses, zred, t * 1e6)) for t in (10, 30, 100)}
    out = {
        **{f"log_sfr_{t}": rate for t, rate in log_sfr.items()},
        "log_ssfr_100": log_sfr[100] - logmass,
        "mass_weighted_age": sfh.mass_weighted_age(masses, zred),
        "t50": sfh.half_mass_time(masses, zred),
    }
    if mfrac is not None:
        out["log_stellar_mass"] = logmass + np.log10(mfrac)
    return out
