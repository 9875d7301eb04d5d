"""Files of factored emulators (the first kind) as `Ingredients`."""

import numpy as np

from .packing import unpack_uniform

KIND_FACTORED = "prospect_emu factored emulator"
_SAME = (
    "wave", "resolution", "log_age", "logz", "photons", "neb_logz", "neb_log_age", "line_wave",
    "dust_qpah", "dust_umin", "agn_tau", "agn_lnu",
)  # fmt: skip


def factored_arrays(tensors, manifest, floor):
    """Arrays and manifest of `Ingredients` from a factored emulator: one ionisation parameter.

    `floor` is log10 of the nebular continuum where there is none.
    """
    prefix = "ingredients/"
    g = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    fixed = manifest["recipe"]["fixed"]
    cont = unpack_uniform(g["neb_cont"], g["neb_cont_top"])
    versions = manifest["versions"]
    arrays = {
        "stars_lnu": _linear(g["ssp_lnu"], g["ssp_lnu_top"]),
        "stars_mass": g["ssp_mass"],
        "stars_loglbol": g["ssp_loglbol"],
        "neb_logu": np.array([float(fixed["gas_logu"])]),
        "neb_logcont": np.where(np.isfinite(cont), cont, np.float32(floor))[:, :, None],
        "neb_logline": g["neb_logline"][:, :, None],
        "dust_lnu": _linear(g["dust_lnu"], g["dust_lnu_top"]),
    }
    arrays |= {k: g[k] for k in _SAME}
    described = {
        "label": manifest.get("label"),
        "libraries": list(versions["libraries"]),
        "versions": versions,
        "parameters": {
            "imf_type": fixed["imf_type"],
            "add_agb_dust_model": fixed.get("add_agb_dust_model", True),
        },
    }
    return arrays, described


def _linear(codes, top):
    return np.power(np.float32(10.0), unpack_uniform(codes, top))
