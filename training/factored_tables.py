"""Packaging of the factored emulator: FSPS's tables, compressed, with measured errors."""

from dataclasses import replace
from importlib import metadata

import numpy as np

from prospect_emu.errors import ProspectEmuError
from prospect_emu.networks.emulator_base import reference_scale
from prospect_emu.networks.factored import FactoredEmulator, pack
from prospect_emu.networks.vector import FIXED, PARAMETERS
from prospect_emu.observe.filters import curve_hash, load_filters
from prospect_emu.observe.magnitudes import maggies_to_arsinh
from prospect_emu.sps.constants import LNU_UNIT, PHOTON_UNIT, interpolate, locate
from prospect_emu.sps.nebular import ionising_photons

from .evaluate import residual_statistics
from .exact_tables import load_tables


def compress(tables, gas_logu=FIXED["gas_logu"]):
    """Ingredients of a `FactoredEmulator` from the arrays of `load_tables`."""
    age = tables["log_age"]
    nneb = int(locate(age, tables["neb_log_age"][-1]))
    logu = tables["neb_logu"]
    at_logu = np.clip(gas_logu, logu[0], logu[-1])
    cont, line = (
        interpolate(logu, np.moveaxis(tables[name], 2, -1), at_logu)
        + np.log10(PHOTON_UNIT / LNU_UNIT)
        for name in ("neb_logcont", "neb_logline")
    )
    first = int(np.flatnonzero(tables["dust_lnu"].reshape(-1, tables["wave"].size).max(axis=0))[0])
    dust = tables["dust_lnu"][..., first:]
    spectra = {
        "ssp_lnu": tables["ssp_lnu"] / LNU_UNIT,
        "neb_cont": 10.0**cont,
        # Their ratios matter, their unit does not: this brings them near one.
        "dust_lnu": dust / dust.max(),
    }
    out = {}
    for name, values in spectra.items():
        out[name], out[f"{name}_top"] = pack(values)
    return out | {
        "wave": tables["wave"],
        "resolution": tables["resolution"],
        "log_age": age,
        "logz": np.log10(tables["metallicity"] / tables["zsol"]),
        "ssp_mass": tables["ssp_mass"],
        "ssp_loglbol": tables["ssp_loglbol"],
        "photons": ionising_photons(tables["wave"], tables["ssp_lnu"][:, :nneb]) / PHOTON_UNIT,
        "neb_logz": tables["neb_logz"],
        "neb_log_age": tables["neb_log_age"],
        "neb_logline": line.astype(np.float32),
        "line_wave": tables["line_wave"],
        "dust_qpah": tables["dust_qpah"],
        "dust_umin": tables["dust_umin"],
        "agn_tau": tables["agn_tau"],
        "agn_lnu": (tables["agn_lnu"] / LNU_UNIT).astype(np.float32),
    }


def build(tables, test_store, name, label=None):
    """A factored emulator and its measured errors.

    Parameters
    ----------
    tables : path-like
        What `export_tables` wrote.
    test_store : prospect_emu.training.generate.SampleStore
        FSPS samples. Their recipe names bands, fixed parameters and redshifts.
    name : str
    label : str, optional
        What to call the isochrones and spectral library, where FSPS's own names
        mislead (another library in the slot of one).

    Returns
    -------
    FactoredEmulator
        Its statistics are those of the test set, to which the covariance of what
        folding adds (`folding_residuals`) is added.

    Raises
    ------
    ProspectEmuError
        If the test set was made with other FSPS libraries than the tables.
    """
    arrays, manifest = load_tables(tables)
    recipe, versions = test_store.recipe, manifest["versions"]
    if test_store.manifest["versions"]["libraries"] != versions["libraries"]:
        raise ProspectEmuError(
            f"The samples were made with FSPS libraries "
            f"{test_store.manifest['versions']['libraries']}, the tables with "
            f"{versions['libraries']}; make one of them again."
        )
    data, nband = test_store.load(), len(recipe.filters)
    emulator = FactoredEmulator(
        name=name,
        parameters=PARAMETERS,
        bounds=recipe.bounds,
        filters=recipe.filters,
        filter_hashes=tuple(curve_hash(f) for f in load_filters(recipe.filters)),
        bias_mag=np.zeros(nband),
        sigma_mag=np.zeros(nband),
        covariance=np.zeros((nband, nband)),
        quantiles=np.zeros((nband, 9)),
        manifest={
            "recipe": recipe.as_dict(),
            "versions": versions,
            "label": label,
            "training": {
                "source": "tables of python-fsps, compressed; nothing is learnt",
                "tables": manifest["fingerprint"],
                "prospect_emu": metadata.version("prospect_emu"),
            },
        },
        ingredients=compress(arrays, recipe.fixed["gas_logu"]),
    )
    stats = residual_statistics(emulator, data["theta"], data["maggies"])
    folding = np.cov(folding_residuals(emulator, data["theta"]), rowvar=False)
    stats["covariance"] = stats["covariance"] + folding
    stats["sigma_mag"] = np.sqrt(np.diag(stats["covariance"]))
    emulator.manifest["test"] = {
        "samples": len(data["theta"]),
        "source": "python-fsps",
        "fingerprint": test_store.fingerprint,
        "mfrac_std": float(np.std(emulator.mfrac(data["theta"]) - data["mfrac"])),
        "folding_std_median": float(np.median(np.sqrt(np.diag(folding)))),
        "folding_std_worst": float(np.sqrt(np.diag(folding)).max()),
    }
    return replace(emulator, **stats)


def folding_residuals(emulator, theta, n_redshift=12, n_each=300):
    """Folded minus direct photometry in arsinh magnitudes, at redshifts across the range.

    Parameters
    ----------
    emulator : FactoredEmulator
    theta : ndarray, shape (n, 18)
        Drawn from, apart from the redshift.

    Returns
    -------
    ndarray, shape (n_redshift * n_each, nband)
    """
    zred = PARAMETERS.index("zred")
    rng = np.random.default_rng(0)
    out = []
    for z in np.linspace(*emulator.bounds[zred], n_redshift):
        rows = theta[rng.choice(len(theta), n_each, replace=False)].copy()
        rows[:, zred] = z
        direct = emulator.direct_maggies(rows)
        folded = emulator.at_redshift(z).reference_maggies(rows)
        scale = reference_scale(rows[:, 0], rows[:, zred])[:, None]
        out.append(maggies_to_arsinh(folded * scale) - maggies_to_arsinh(direct * scale))
    return np.concatenate(out)
