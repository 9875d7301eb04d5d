"""`EmulatorSPS()` against FSPS in Prospector's own `SpecModel.predict`, call by call in turn.

    SPS_HOME=... python benchmarks/stand_in_speed.py [--calls 40]

Prints milliseconds per call (medians) and their ratio for a few templates, and the
largest difference of the photometry. Metallicity is fixed: FSPS reads a new one in
ten seconds.
"""

import argparse
import time

import numpy as np
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary
from prospect.sources import CSPSpecBasis, FastStepBasis
from sedpy.observate import load_filters
from threadpoolctl import threadpool_limits

from prospect_emu import EmulatorSPS

BANDS = ["galex_NUV", "sdss_g0", "sdss_r0", "sdss_z0", "twomass_Ks", "spitzer_irac_ch3"]
DUSTY = ("dust_emission", "nebular", "igm", "agn")
MODELS = [("parametric_sfh", ()), ("parametric_sfh", DUSTY), ("continuity_sfh", ()),
          ("continuity_sfh", DUSTY), ("alpha", ())]  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=40)
    calls = parser.parse_args().calls
    obs = {"filters": load_filters(BANDS), "wavelength": None, "spectrum": None}
    print(f"{'model':45s} {'FSPS':>8s} {'ours':>8s} {'ratio':>7s} {'largest difference':>20s}")
    for name, more in MODELS:
        params = dict(TemplateLibrary[name])
        for extra in more:
            params |= TemplateLibrary[extra]
        params["logzsol"] = {"N": 1, "isfree": False, "init": -0.3}
        params["zred"] = {"N": 1, "isfree": False, "init": 0.8}
        params.pop("massmet", None)
        model = SpecModel(params)
        binned = "agebins" in model.params
        both = ((FastStepBasis if binned else CSPSpecBasis)(zcontinuous=1), EmulatorSPS())
        rng = np.random.default_rng(1)
        seconds, worst = [], 0.0
        for i in range(calls + 2):
            theta = model.prior_transform(rng.uniform(0.1, 0.9, model.ndim))
            row, flux = [], []
            for sps in both:
                start = time.perf_counter()
                flux.append(model.predict(theta, obs=obs, sps=sps)[1])
                row.append(time.perf_counter() - start)
            worst = max(worst, np.abs(flux[1] / flux[0] - 1.0).max())
            if i > 1:  # the first calls read tables
                seconds.append(row)
        fsps, ours = 1e3 * np.median(seconds, axis=0)
        label = " + ".join([name, *more])
        print(f"{label:45s} {fsps:6.1f}ms {ours:6.1f}ms {fsps / ours:7.1f} {worst:20.1e}")


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
