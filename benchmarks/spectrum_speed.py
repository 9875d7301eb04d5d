"""Time per vector of a compiled spectrum with photometry, next to `model.predict`.

    python benchmarks/spectrum_speed.py

1,500 pixels, 20 bands, batches of 256, one thread, with Prospector's continuity model.
"""

import time

import numpy as np
from prospect.models import PolySpecModel, SpecModel
from prospect.models.templates import TemplateLibrary
from prospect.utils.obsutils import fix_obs
from threadpoolctl import threadpool_limits

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.observe.filters import load_filters

NPIX, BATCH, REPEATS = 1500, 256, 15
BANDS = [f"sdss_{b}0" for b in "ugriz"] + [f"twomass_{b}" for b in ("J", "H", "Ks")]
BANDS += [f"spitzer_irac_ch{i}" for i in (1, 2, 3, 4)] + [f"wise_w{i}" for i in (1, 2, 3, 4)]
BANDS += ["galex_FUV", "galex_NUV", "spitzer_mips_24", "acs_wfc_f814w"]
CASES = {
    "SpecModel, lines in the spectrum": (SpecModel, {}),
    "SpecModel, lines apart": (SpecModel, {"nebemlineinspec": False}),
    "PolySpecModel, order 10, lines apart": (
        PolySpecModel, {"polyorder": 10, "nebemlineinspec": False}
    ),
}  # fmt: skip


def time_case(name, kind, fixed, sps):
    """Print microseconds per vector."""
    params = TemplateLibrary["continuity_sfh"]
    params.update(TemplateLibrary["nebular"])
    params.update(TemplateLibrary["dust_emission"])
    params["zred"] |= {"isfree": False, "init": 0.7}
    params["dust_type"]["init"] = 4
    params["dust_index"] = {"N": 1, "isfree": False, "init": -0.2}
    for key, value in {"sigma_smooth": 300.0, "imf_type": 1, "gas_logu": -1.0, **fixed}.items():
        params[key] = {"N": 1, "isfree": False, "init": value}
    model = kind(params)
    wave = np.linspace(5500.0, 11000.0, NPIX)
    filters = load_filters(BANDS)
    one = np.ones(NPIX)
    obs = fix_obs(
        {
            "wavelength": wave, "spectrum": one, "unc": one, "filters": filters,
            "maggies": np.ones(len(BANDS)), "maggies_unc": np.ones(len(BANDS)),
        }
    )  # fmt: skip
    theta = model.prior_transform(np.full(model.ndim, 0.5))
    spec, phot, _ = SpecModel.predict(model, theta, obs=obs, sps=sps)
    obs |= {"spectrum": spec, "unc": 0.05 * spec, "maggies": phot, "maggies_unc": 0.05 * phot}
    start = time.perf_counter()
    posterior = BatchedPosterior(model, obs, sps)
    ready = time.perf_counter() - start
    rows = posterior.prior_transform(np.random.default_rng(0).random((BATCH, model.ndim)))
    posterior.log_likelihood(rows)
    spent = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        posterior.log_likelihood(rows)
        spent.append(time.perf_counter() - start)
    fast = 1e6 * min(spent) / BATCH
    start = time.perf_counter()
    for row in rows[:10]:
        model.predict(row, obs=obs, sps=sps)
    slow = 1e5 * (time.perf_counter() - start)
    print(
        f"{name}: {fast:.1f} us per ln L at best ({1e6 * np.median(spent) / BATCH:.1f} in the "
        f"median), model.predict {slow:.0f} us; {ready:.1f} s to compile"
    )


if __name__ == "__main__":
    with threadpool_limits(1):
        basis = EmulatorSPS()
        for label, (kind, fixed) in CASES.items():
            time_case(label, kind, fixed, basis)
