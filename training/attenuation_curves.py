"""Attenuation curves that FSPS keeps as tables, in one small file.

Witt & Gordon (2000), ``dust/alldirty_{h,c}.dat``, and the SMC bar of Gordon et al.
(2003), ``dust/Gordon03_table4.dat``, from a folder of FSPS's data.
"""

from pathlib import Path

import numpy as np

from prospect_emu.files import check_writable, save_tensors
from prospect_emu.sps.dust_laws import CURVES_FILE, CURVES_KIND


def write_attenuation_curves(home, path=CURVES_FILE, overwrite=False):
    """Write `prospect_emu.sps.dust_laws`'s tables from the FSPS data in `home`.

    Parameters
    ----------
    home : path-like
        SPS_HOME.
    path : path-like
    overwrite : bool
    """
    check_writable(path, overwrite)
    folder = Path(home) / "dust"
    # (geometry, optical depth, wavelength, column): lambda, tau_V, six models.
    tables = [np.loadtxt(folder / f"alldirty_{kind}.dat").reshape(18, 25, 8) for kind in ("h", "c")]
    smc = np.loadtxt(folder / "Gordon03_table4.dat", usecols=(0, 2))[::-1]
    tensors = {
        "witt_gordon_wave": tables[0][0, :, 0],
        # By wgp1 (optical depth), wgp2 (dust and geometry), wgp3 (homogeneous, clumpy).
        "witt_gordon_tau": np.stack([t[:, :, 2:] for t in tables], axis=-1).transpose(0, 2, 3, 1),
        "smc_wave": smc[:, 0] * 1e4,
        "smc_tau": smc[:, 1],
    }
    save_tensors(
        path,
        tensors,
        {"kind": CURVES_KIND, "sources": "Witt & Gordon (2000); Gordon et al. (2003, table 4)"},
    )
