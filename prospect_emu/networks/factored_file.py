"""The first files of factored emulators, which held ingredients of their own."""

import numpy as np

from ..sps.ingredients import NEBULAR_FLOOR, Ingredients
from ..sps.packing import DECADES

_SAME = (
    "wave", "resolution", "log_age", "logz", "photons", "neb_logz", "neb_log_age", "line_wave",
    "dust_qpah", "dust_umin", "agn_tau", "agn_lnu",
)  # fmt: skip


def own_ingredients(tensors, manifest):
    """`Ingredients` from the arrays and the manifest of such a file: one ionisation parameter."""
    prefix = "ingredients/"
    g = {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
    fixed = manifest["recipe"]["fixed"]
    cont = unpack(g["neb_cont"], g["neb_cont_top"])
    versions = manifest["versions"]
    arrays = {
        "stars_lnu": _linear(g["ssp_lnu"], g["ssp_lnu_top"]),
        "stars_mass": g["ssp_mass"],
        "stars_loglbol": g["ssp_loglbol"],
        "neb_logu": np.array([float(fixed["gas_logu"])]),
        "neb_logcont": np.where(np.isfinite(cont), cont, np.float32(NEBULAR_FLOOR))[:, :, None],
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
    return Ingredients(**arrays, manifest=described)


def _linear(codes, top):
    return np.power(np.float32(10.0), unpack(codes, top))


def unpack(codes, top):
    """log10 of spectra in 65534 equal steps over `DECADES` below their largest; 0 is none."""
    log = (codes.astype(np.float32) - np.float32(65535)) * np.float32(DECADES / 65534)
    log = log + top[..., None].astype(np.float32)
    return np.where(codes == 0, np.float32(-np.inf), log)
