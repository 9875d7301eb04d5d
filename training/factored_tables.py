"""Packaging of the factored emulator: FSPS's tables, compressed, with measured errors."""

from dataclasses import replace

import numpy as np

from prospect_emu.errors import ProspectEmuError
from prospect_emu.networks.emulator_base import reference_scale
from prospect_emu.networks.factored import FactoredEmulator
from prospect_emu.networks.vector import FIXED, PARAMETERS
from prospect_emu.observe.magnitudes import maggies_to_arsinh
from prospect_emu.sps.constants import interpolate
from prospect_emu.sps.packing import pack_uniform

from .evaluate import package
from .exact_tables import load_tables
from .ingredient_tables import assemble

_SAME = (
    "wave", "resolution", "log_age", "logz", "photons", "neb_logz", "neb_log_age", "line_wave",
    "dust_qpah", "dust_umin", "agn_tau",
)  # fmt: skip


def compress(tables, gas_logu=FIXED["gas_logu"]):
    """Ingredients of a `FactoredEmulator` from the arrays of `load_tables`."""
    g = assemble(tables, versions={}, dtype=float)
    at_logu = np.clip(gas_logu, g.neb_logu[0], g.neb_logu[-1])
    cont, line = (
        interpolate(g.neb_logu, np.moveaxis(table, 2, -1), at_logu)
        for table in (g.neb_logcont, g.neb_logline)
    )
    out = {}
    spectra = {"ssp_lnu": g.stars_lnu, "neb_cont": 10.0**cont, "dust_lnu": g.dust_lnu}
    for name, values in spectra.items():
        out[name], out[f"{name}_top"] = pack_uniform(values)
    return (
        out
        | {k: getattr(g, k) for k in _SAME}
        | {
            "ssp_mass": g.stars_mass,
            "ssp_loglbol": g.stars_loglbol,
            "neb_logline": line.astype(np.float32),
            "agn_lnu": g.agn_lnu.astype(np.float32),
        }
    )


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
        See `package`.

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
    versions = manifest["versions"]
    if test_store.manifest["versions"]["libraries"] != versions["libraries"]:
        raise ProspectEmuError(
            f"The samples were made with FSPS libraries "
            f"{test_store.manifest['versions']['libraries']}, the tables with "
            f"{versions['libraries']}; make one of them again."
        )
    training = {
        "source": "tables of python-fsps, compressed; nothing is learnt",
        "tables": manifest["fingerprint"],
    }
    ingredients = compress(arrays, test_store.recipe.fixed["gas_logu"])
    emulator = package(FactoredEmulator, name, test_store, label, training, ingredients=ingredients)
    folding = np.cov(folding_residuals(emulator, test_store.load()["theta"]), rowvar=False)
    std = np.sqrt(np.diag(folding))
    emulator.manifest["test"] |= {
        "folding_std_median": float(np.median(std)),
        "folding_std_worst": float(std.max()),
    }
    covariance = emulator.covariance + folding
    return replace(emulator, covariance=covariance, sigma_mag=np.sqrt(np.diag(covariance)))


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
