"""Prospector's templates in the batched posterior: microseconds per vector, and how exact.

    python benchmarks/batched_speed.py [TEMPLATE ...]

45 bands of 3D-HST, z = 0.8, batches of 512, one thread: prior transform and likelihood, beside
`SpecModel.predict` with the same `EmulatorSPS()`, whose fluxes are the reference.
"""

import argparse
import time
import warnings

import numpy as np
from prospect.utils.obsutils import fix_obs

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.fits.threedhst import BANDS
from prospect_emu.observe.filters import load_filters
from prospect_emu.prospector.templates import template_model
from prospect_emu.workers import single_thread

TEMPLATES = (
    "ssp", "parametric_sfh", "burst_sfh+parametric_sfh", "continuity_sfh", "continuity_flex_sfh",
    "continuity_psb_sfh", "dirichlet_sfh", "logm_sfh", "stochastic_sfh", "alpha",
)  # fmt: skip
MORE = "+dust_emission+nebular+igm+agn"
ZRED, ROWS, REPEATS, CHECKED = 0.8, 512, 5, 4
# Bands fainter than this, relative to a vector's brightest, are left out of the error.
FAINT = 1e-6


def measure(name, filters):
    """Seconds to compile, us per vector, ms per prediction, largest relative error."""
    model, _ = template_model(name, ZRED)
    n = len(filters)
    obs = {
        "filters": filters, "maggies": np.full(n, 1e-8), "maggies_unc": np.full(n, 1e-9),
        "phot_mask": np.ones(n, dtype=bool), "wavelength": None, "spectrum": None,
    }  # fmt: skip
    sps = EmulatorSPS()
    start = time.perf_counter()
    posterior = BatchedPosterior(model, obs, sps)
    compiled = time.perf_counter() - start
    unit = np.random.default_rng(1).random((ROWS, model.ndim))
    took = []
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        theta = posterior.prior_transform(unit)
        posterior.log_likelihood(theta)
        took.append(time.perf_counter() - start)
    full = fix_obs(dict(obs))
    start = time.perf_counter()
    exact = []
    for row in theta[:CHECKED]:
        try:
            model.set_parameters(row)
            exact.append(model.predict(row, obs=full, sps=sps)[1])
        except ValueError:
            # Flexible bins too short for Prospector.
            exact.append(np.full(n, np.nan))
    single = (time.perf_counter() - start) / CHECKED
    exact = np.array(exact)
    off = np.abs(posterior.maggies(theta[:CHECKED]) / exact - 1.0)
    with np.errstate(invalid="ignore"):
        bright = exact > FAINT * exact.max(axis=1, keepdims=True)
    return compiled, 1e6 * min(took[1:]) / ROWS, 1e3 * single, off[bright].max()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("templates", nargs="*", default=TEMPLATES)
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    filters = load_filters(list(BANDS.values()))
    head = f"{'model':28s} {'compile':>8s} {'batched':>9s} {'predict':>9s} {'error':>8s}"
    for more in ("", MORE):
        print(f"\nz = {ZRED}, {len(filters)} bands{', with ' + more[1:] if more else ''}\n{head}")
        for name in args.templates:
            with single_thread():
                compiled, us, ms, off = measure(name + more, filters)
            print(f"{name:28s} {compiled:6.2f} s {us:6.1f} us {ms:6.1f} ms {off:8.1e}", flush=True)


if __name__ == "__main__":
    main()
