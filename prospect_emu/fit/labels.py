"""Labels and units of free parameters and derived quantities."""

from ..networks import sfh
from ..networks.vector import PARAMETERS
from ..parameters import PARAMETERS as FSPS
from ..sps.history import QUANTITIES

LABELS = {
    **{name: p.label for name, p in FSPS.items() if p.label},
    "mass": r"$M_{\rm formed}$ [$M_\odot$]",
    "logmass": r"$\log\,M_{\rm formed}/M_\odot$",
    "logzsol": r"$\log\,Z/Z_\odot$",
    **{f"logsfr_ratios_{i}": rf"$\log\,r_{{{i},{i + 1}}}$" for i in range(1, sfh.NBINS)},
    "dust2": r"$\hat\tau_{\rm dust,2}$",
    "dust_index": r"$n_{\rm dust}$",
    "dust1_fraction": r"$\hat\tau_{\rm dust,1}/\hat\tau_{\rm dust,2}$",
    "log_fagn": r"$\log\,f_{\rm AGN}$",
    "log_agn_tau": r"$\log\,\tau_{\rm AGN}$",
    "zred": r"$z$",
    "duste_qpah": r"$Q_{\rm PAH}$ [%]",
    "log_duste_gamma": r"$\log\,\gamma_{\rm e}$",
    "log_mass_formed": r"$\log\,M_{\rm formed}/M_\odot$",
    "log_stellar_mass": r"$\log\,M_*/M_\odot$",
    **{f"log_sfr_{n}": rf"$\log\,{{\rm SFR}}_{{{n}}}$" for n in (10, 30, 100)},
    "log_ssfr_100": r"$\log\,{\rm sSFR}_{100}$",
    "mass_weighted_age": r"$\langle t\rangle_M$ [Gyr]",
    "t50": r"$t_{50}$ [Gyr]",
}

UNITS = {
    **{name: p.unit for name, p in FSPS.items() if p.unit},
    "mass": "Msun",
    "total_mass": "Msun",
    "logmass": "log10(Msun)",
    "logzsol": "log10(Z/Zsun)",
    **{name: "dex" for name in PARAMETERS if name.startswith("logsfr_ratios")},
    "log_fagn": "log10",
    "log_agn_tau": "log10",
    "gas_logz": "log10(Z/Zsun)",
    "duste_qpah": "percent",
    "log_duste_gamma": "log10",
    **QUANTITIES,
}
