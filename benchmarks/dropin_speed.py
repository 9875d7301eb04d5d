"""Time per call of Prospector's own `lnprobfn`, with FSPS and with an emulator swapped in.

    python benchmarks/dropin_speed.py [--emulator NAME] [--calls 200]

All rows are measured in one run, in turns, so that a slow machine slows them
alike; read the ratios. Without SPS_HOME FSPS is left out, which the output says.
"""

import argparse
import os
import time

import numpy as np
from prospect.fitting import lnprobfn
from prospect.models import SedModel, SpecModel

from prospect_emu import EmulatorSpecModel, EmulatorSPS, load_emulator
from prospect_emu.fits.threedhst import BANDS
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.mathews23 import model_params

ZRED = 1.1


def draws(model, n, seed=0):
    """Prior draws at nearly one metallicity: FSPS needs 10 s for each node it first touches."""
    theta = np.array(
        [model.prior_transform(u) for u in np.random.default_rng(seed).random((n, 17))]
    )
    theta[:, model.theta_index["massmet"].start + 1] = np.linspace(-0.25, -0.2, n)
    return theta


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emulator", default="mathews23-256")
    parser.add_argument("--calls", type=int, default=200)
    args = parser.parse_args()

    emulator = load_emulator(args.emulator)
    filters = load_filters([name for name in BANDS.values() if name in emulator.filters])
    # An object for each model, as in a script: one that meets another model checks it anew.
    cases = {
        f"{kind.__name__} + EmulatorSPS": (kind, EmulatorSPS(emulator, filters=filters))
        for kind in (SpecModel, SedModel, EmulatorSpecModel)
    }
    if os.environ.get("SPS_HOME"):
        from prospect.sources import FastStepBasis

        cases = {"SpecModel + FSPS": (SpecModel, FastStepBasis(zcontinuous=1)), **cases}
    else:
        print("SPS_HOME is not set: FSPS itself is not timed.")

    built = {
        name: (kind(model_params(zred=ZRED)), source) for name, (kind, source) in cases.items()
    }
    theta = draws(next(iter(built.values()))[0], args.calls)
    flux = EmulatorSpecModel(model_params(zred=ZRED)).predict(
        theta[0], obs={"filters": filters}, sps=EmulatorSPS(emulator, filters=filters)
    )[1]
    obs = {"filters": filters, "maggies": flux, "maggies_unc": 0.05 * flux, "wavelength": None,
           "spectrum": None, "phot_mask": np.ones(len(filters), dtype=bool)}  # fmt: skip

    seconds = {name: [] for name in built}
    for row in range(-3, args.calls):  # three calls to warm up
        for name, (model, source) in built.items():
            start = time.perf_counter()
            lnprobfn(theta[row], model=model, obs=obs, sps=source, nested=True)
            if row >= 0:
                seconds[name].append(time.perf_counter() - start)
    median = {name: np.median(s) for name, s in seconds.items()}
    slowest = max(median.values())
    print(f"{len(filters)} bands, {args.calls} calls each, {emulator.name}, median per call:")
    for name, s in median.items():
        print(f"  {name:34s} {1e3 * s:9.3f} ms   {slowest / s:7.1f}x")


if __name__ == "__main__":
    main()
