"""What the Fortran module of a factored emulator holds: its ingredients, unpacked.

The tables are those that Python sums, in the single precision to which it unpacks them, so
that the two agree to the rounding of double precision.
"""

import numpy as np

from ..cosmology import MAGGIES_AT_10PC
from ..errors import SetupError
from ..networks.factored import _LAGRANGE
from ..sps.ages import EDGE
from ..sps.constants import LNU_UNIT


def factored_vectors(emulator):
    """Arrays in the order in which the module's `load` reads them, after the box."""
    g, curves = emulator.ingredients, emulator.projector._curves
    power, depth = emulator._igm_terms
    start = np.append(curves.first, curves.lam.size) + 1
    return (
        g["wave"], g["log_age"], g["logz"], g["neb_logz"], g["dust_qpah"], g["dust_umin"],
        g["agn_tau"], _LAGRANGE, g["ssp_mass"], g["ssp_loglbol"], g["photons"], emulator.hertz,
        emulator.extinction, power, depth, start, curves.x, curves.trans,
        # Per ln(lambda) at the left end of a cell.
        curves.slope * curves.lam, curves.c0, curves.c1,
    )  # fmt: skip


def factored_tables(emulator):
    """Single-precision tables, which follow the vectors, wavelength fastest."""
    return (
        emulator.populations,
        emulator.nebulae,
        emulator.dust_templates,
        emulator.ingredients["agn_lnu"],
    )


def factored_constants(emulator):
    """Sizes and constants for the template `factored.f90`."""
    g = emulator.ingredients
    # `prepare` takes all nebulae for the first bin's.
    if 10.0 ** g["log_age"][min(emulator.nneb, g["log_age"].size - 1)] > 3e7:
        raise SetupError(
            f"{emulator!r} has nebulae around stars older than 30 Myr, for which there is no "
            "Fortran form."
        )
    sizes = {
        "nwave": emulator.wavelengths.size,
        "nage": g["log_age"].size,
        "nmetal": g["logz"].size,
        "nyoung": emulator.nyoung,  # behind birth clouds
        "nneb": emulator.nneb,  # with nebulae
        "ngas": emulator.gas_logz.size,
        "nnode": len(_LAGRANGE),
        "nspan": emulator.dust_templates.shape[1],
        "nblue": emulator._igm_terms[1].shape[1],
    }
    return {
        "SIZES": "\n".join(f"  integer, parameter :: {k} = {v}" for k, v in sizes.items()),
        "LNU_UNIT": repr(LNU_UNIT),
        "MAGGIES_10PC": repr(MAGGIES_AT_10PC),
        "EDGE": repr(EDGE),
    }
