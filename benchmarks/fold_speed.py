"""Microseconds per vector of the compiled engine, 46 bands, one thread, redshift fixed.

The 18-parameter model (vectors drawn as for training), then models such as Prospector's
templates. ``python benchmarks/fold_speed.py``
"""

import time

import numpy as np

from prospect_emu import load_emulator
from prospect_emu.networks import sfh
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.sps.fold import compile_sps
from prospect_emu.sps.ingredients import find_ingredients
from prospect_emu.training.recipe import Recipe, draw_parameters
from prospect_emu.workers import single_thread

ZRED = 1.2
GAS = {"add_neb_emission": True, "add_igm_absorption": True, "zred": ZRED}
BINS = GAS | {"agebins": sfh.agebins(ZRED), "dust_type": 4}
TEMPLATES = {
    "ssp": ({"sfh": 0, "zred": ZRED}, "mass logzsol tage dust2"),
    "parametric_sfh": ({"sfh": 4, "zred": ZRED}, "mass logzsol tage tau dust2"),
    "parametric_sfh + nebular": (GAS | {"sfh": 4}, "mass logzsol tage tau dust2 gas_logz"),
    "continuity_sfh, dirichlet_sfh": (BINS, "mass logzsol dust2"),
    "alpha": (BINS, "mass logzsol dust1 dust2 dust_index fagn agn_tau gas_logz gas_logu"),
    "free bins": (BINS | {"agebins": None}, "mass agebins logzsol dust2"),
}


def best(*calls, repeats=40):
    """Shortest time of each call in seconds, in turns."""
    out = np.full(len(calls), np.inf)
    for _ in range(repeats):
        for i, call in enumerate(calls):
            start = time.perf_counter()
            call()
            out[i] = min(out[i], time.perf_counter() - start)
    return out


def main():
    emulator = load_emulator("mathews23-factored")
    emulator = emulator.select(emulator.filters[::3])
    filters = load_filters(emulator.filters)
    start = time.perf_counter()
    at_z = emulator.at_redshift(ZRED)
    print(f"preset folded in {time.perf_counter() - start:.2f} s")
    with single_thread():
        for n in (256, 512, 2048):
            theta = draw_parameters(Recipe(), n, (5,))
            theta[:, PARAMETERS.index("zred")] = ZRED
            t = best(lambda theta=theta: at_z.reference_maggies(theta))[0]
            print(f"preset, {n:4d} rows: {t / n * 1e6:.2f} us")
    for name, (given, free) in TEMPLATES.items():
        given = {k: v for k, v in given.items() if v is not None}
        start = time.perf_counter()
        c = compile_sps(find_ingredients(imf_type=2), filters, given, free.split())
        took = time.perf_counter() - start
        p = c.draw(512)
        with single_thread():
            t = best(lambda c=c, p=p: c.maggies(p), repeats=15)[0]
        worst = max(c.error.values())
        print(f"{name}: {t / 512 * 1e6:.2f} us, compiled in {took:.2f} s, error {worst:.1e}")


if __name__ == "__main__":
    main()
