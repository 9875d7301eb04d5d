"""The 18-parameter galaxy model of Mathews et al. (2023, table 1) for Prospector.

`model_params` makes the dictionary that Prospector's models are built from.
"""

from numbers import Real

import numpy as np

from ..errors import ModelMismatchError, RangeError
from ..networks import sfh
from ..networks.vector import BOX, FIXED, PARAMETERS, RATIO_NAMES, derived_quantities
from . import priors
from .line_table import tolerate_missing_sps_home
from .magnification import magnified

# The model's description, of which the first five belong to `prospect_emu.networks.vector`.
__all__ = [
    "BOX",
    "FIXED",
    "PARAMETERS",
    "RATIO_NAMES",
    "default_priors",
    "derived_quantities",
    "model_params",
]  # fmt: skip


def default_priors():
    """The fit priors of Mathews et al. (2023, table 1), by Prospector parameter name."""
    six = np.zeros(sfh.NBINS - 1)
    mass, met = BOX["logmass"], BOX["logzsol"]

    def uniform(name):
        return priors.Uniform(mini=BOX[name][0], maxi=BOX[name][1])

    def normal(name, mean, sigma):
        return priors.TruncatedNormal(mean=mean, sigma=sigma, mini=BOX[name][0], maxi=BOX[name][1])

    return {
        "massmet": priors.MassMet(
            mass_mini=mass[0], mass_maxi=mass[1], z_mini=met[0], z_maxi=met[1]
        ),
        "logsfr_ratios": priors.TruncatedStudentT2(
            mean=six, scale=six + 0.3, mini=six - 5.0, maxi=six + 5.0
        ),
        "dust2": normal("dust2", 0.3, 1.0),
        "dust_index": uniform("dust_index"),
        "dust1_fraction": normal("dust1_fraction", 1.0, 0.3),
        "log_fagn": uniform("log_fagn"),
        "log_agn_tau": uniform("log_agn_tau"),
        "gas_logz": uniform("gas_logz"),
        "zred": uniform("zred"),
        "duste_qpah": normal("duste_qpah", 2.0, 2.0),
        "duste_umin": normal("duste_umin", 1.0, 10.0),
        "log_duste_gamma": normal("log_duste_gamma", -2.0, 1.0),
    }


# Transforms, in Prospector's depends_on form: keywords in, extras ignored.
def massmet_to_logmass(massmet=None, **extras):
    return massmet[0]


def massmet_to_logzsol(massmet=None, **extras):
    return massmet[1]


def zred_to_agebins(zred=None, **extras):
    return sfh.agebins(float(np.squeeze(zred)))


def logsfr_ratios_to_mass(logmass=None, logsfr_ratios=None, zred=None, **extras):
    return sfh.bin_masses(
        float(np.squeeze(logmass)), np.asarray(logsfr_ratios), float(np.squeeze(zred))
    )


def dust1_fraction_to_dust1(dust1_fraction=None, dust2=None, **extras):
    return dust1_fraction * dust2


def log_fagn_to_fagn(log_fagn=None, **extras):
    return 10.0**log_fagn


def log_agn_tau_to_agn_tau(log_agn_tau=None, **extras):
    return 10.0**log_agn_tau


def log_duste_gamma_to_duste_gamma(log_duste_gamma=None, **extras):
    return 10.0**log_duste_gamma


_INIT = {
    "massmet": np.array([10.0, -0.5]),
    "logsfr_ratios": np.zeros(sfh.NBINS - 1),
    "dust2": 0.3,
    "dust_index": -0.4,
    "dust1_fraction": 1.0,
    "log_fagn": -3.0,
    "log_agn_tau": 1.3,
    "gas_logz": -0.5,
    "duste_qpah": 2.0,
    "duste_umin": 1.0,
    "log_duste_gamma": -2.0,
}

_DERIVED = {
    "logmass": massmet_to_logmass,
    "logzsol": massmet_to_logzsol,
    "agebins": zred_to_agebins,
    "mass": logsfr_ratios_to_mass,
    "dust1": dust1_fraction_to_dust1,
    "fagn": log_fagn_to_fagn,
    "agn_tau": log_agn_tau_to_agn_tau,
    "duste_gamma": log_duste_gamma_to_duste_gamma,
}


def model_params(zred=None, zred_prior=None, magnification=None):
    """Prospector's parameter dictionary for the 18-parameter model.

    Free parameters: ``massmet`` (2), ``logsfr_ratios`` (6), ``dust2``,
    ``dust_index``, ``dust1_fraction``, ``log_fagn``, ``log_agn_tau``,
    ``gas_logz``, ``duste_qpah``, ``duste_umin``, ``log_duste_gamma``, and
    ``zred`` unless it is given.

    Parameters
    ----------
    zred : float, optional
        Redshift to hold fixed. Without it, ``zred`` is free.
    zred_prior : prior, optional
        Prior of a free redshift; default uniform over ``BOX["zred"]``.
    magnification : float or table, optional
        Of `prospect_emu.prospector.magnification.describe_magnification`.

    Returns
    -------
    dict
        For `prospect.models.SpecModel`, `SedModel` and `EmulatorSpecModel`.

    Raises
    ------
    RangeError
        If `zred` is not a positive finite number.
    """
    tolerate_missing_sps_home()
    prior = default_priors()
    plain = isinstance(zred, Real) and np.isfinite(zred) and zred > 0
    if zred is not None and not plain:
        raise RangeError(f"zred={zred!r} is not a redshift; give a positive number.")
    if zred_prior is not None:
        if zred is not None:
            raise ModelMismatchError(
                "zred is fixed and has a prior; give model_params either zred or zred_prior."
            )
        if isinstance(zred_prior, str):
            raise ModelMismatchError(
                "The 18-parameter model has no prior of its redshift; give one, such as "
                "uniform:0.01,12, or fit the model uncover."
            )
        prior["zred"] = zred_prior

    init_z = zred if zred is not None else float(np.squeeze(prior["zred"].unit_transform(0.5)))
    params = {
        "zred": {"N": 1, "isfree": zred is None, "init": init_z, "prior": prior["zred"]},
    }
    for name, init in _INIT.items():
        params[name] = {"N": np.size(init), "isfree": True, "init": init, "prior": prior[name]}
    # After the free ones and in this order: Prospector evaluates depends_on in
    # the order of the dictionary.
    values = {name: np.atleast_1d(entry["init"]) for name, entry in params.items()}
    for name, transform in _DERIVED.items():
        values[name] = np.atleast_1d(transform(**values))
        params[name] = {
            "N": len(values[name]),
            "isfree": False,
            "init": values[name],
            "depends_on": transform,
        }
    for name, value in FIXED.items():
        params[name] = {"N": 1, "isfree": False, "init": value}
    if magnification is not None:
        params = magnified(params, magnification)
    return params
