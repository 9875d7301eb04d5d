"""What the Fortran module of a factored emulator holds: its ingredients, unpacked.

The tables are those that Python sums. Nebulae are at nodes of the gas's metallicity, as in
`prospect_emu.sps.light`: between them fluxes are good to 1e-6.
"""

import numpy as np

from ..cosmology import MAGGIES_AT_10PC
from ..errors import SetupError
from ..observe.filters import load_filters
from ..observe.photometry import Curves
from ..sps import igm, nebular
from ..sps.ages import EDGE, young
from ..sps.constants import LNU_UNIT, REFERENCE
from ..sps.dust_laws import bump, calzetti
from ..sps.light import GasAxis


def factored_vectors(emulator):
    """Arrays in the order in which the module's `load` reads them, after the box."""
    g, curves = emulator.ingredients, Curves(load_filters(emulator.filters))
    power, depth = igm.terms(g.wave)
    start = np.append(curves.first, curves.lam.size) + 1
    extinction = [-calzetti(g.wave), -bump(g.wave), np.log(g.wave / REFERENCE), -REFERENCE / g.wave]
    return (
        g.wave, g.log_age, g.logz, g.neb_logz, g.dust_qpah, g.dust_umin, g.agn_tau,
        _gas(g).lagrange, g.stars_mass, g.stars_loglbol, g.photons,
        nebular.frequency_weights(g.wave) * LNU_UNIT, np.array(extinction), power, depth, start,
        curves.x, curves.trans,
        # Per ln(lambda) at the left end of a cell.
        curves.slope * curves.lam, curves.c0, curves.c1,
    )  # fmt: skip


def factored_tables(emulator):
    """Single-precision tables, which follow the vectors, wavelength fastest."""
    g = emulator.ingredients
    stars = g.stars_lnu.copy()
    stars[:, : g.nneb, : nebular.ionising(g.wave)] = 0.0
    return stars, _nebulae(g, emulator.fixed["gas_logu"]), g.dust_lnu, g.agn_lnu


def _gas(ingredients):
    return GasAxis("gas_logz", ingredients.neb_logz, None)


def _nebulae(g, gas_logu):
    """L_nu (ngas, nneb, nwave) of gas per unit of photons."""
    profiles = nebular.line_profiles(g.wave, g.resolution, g.line_wave)
    tables = (g.neb_logcont, None), (g.neb_logline, profiles)
    nodes, ages = _gas(g).nodes, g.log_age[: g.nneb]
    out = np.zeros((nodes.size, g.nneb, g.wave.size))
    for table, shape in tables:
        at_logu = nebular.at_logu(g, table, gas_logu)
        for lnu, logz in zip(out, nodes, strict=True):
            light = nebular.from_log10(nebular.at_ages(g, at_logu, logz, ages))
            lnu += light if shape is None else light @ shape
    return out


def factored_constants(emulator):
    """Sizes and constants for the template `factored.f90`."""
    g = emulator.ingredients
    # `prepare` takes all nebulae for the first bin's.
    if 10.0 ** g.log_age[min(g.nneb, g.log_age.size - 1)] > 3e7:
        raise SetupError(
            f"{emulator!r} has nebulae around stars older than 30 Myr, for which there is no "
            "Fortran form."
        )
    gas = _gas(g)
    sizes = {
        "nwave": g.wave.size,
        "nage": g.log_age.size,
        "nmetal": g.logz.size,
        "nyoung": young(g.log_age, emulator.fixed["dust_tesc"]),  # behind birth clouds
        "nneb": g.nneb,  # with nebulae
        "ngas": gas.nodes.size,
        "nnode": gas.size,
        "nspan": g.dust_lnu.shape[-1],
        "nblue": igm.terms(g.wave)[1].shape[1],
    }
    return {
        "SIZES": "\n".join(f"  integer, parameter :: {k} = {v}" for k, v in sizes.items()),
        "LNU_UNIT": repr(LNU_UNIT),
        "MAGGIES_10PC": repr(MAGGIES_AT_10PC),
        "EDGE": repr(EDGE),
    }
