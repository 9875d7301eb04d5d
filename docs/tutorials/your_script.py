# %% [markdown]
# # Your own script, before and after
#
# A Prospector script has an `obs` dictionary, a model and an `sps`. One line changes.
#
# ```python
# from prospect.sources import FastStepBasis
# sps = FastStepBasis(zcontinuous=1)     # before
#
# from prospect_emu import EmulatorSPS
# sps = EmulatorSPS()                    # after
# ```
#
# Here is a model from Prospector's templates: a star-formation history in bins with dust emission
# and nebular lines. No environment variable `SPS_HOME` and no FSPS are needed.

# %%
import time

import numpy as np
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from sedpy.observate import load_filters

from prospect_emu import BatchedPosterior, EmulatorSPS, FitResult, fit_model

params = TemplateLibrary["continuity_sfh"]
params.update(TemplateLibrary["dust_emission"])
params.update(TemplateLibrary["nebular"])
params["zred"] = {"N": 1, "isfree": False, "init": 0.1}
params["dust2"]["prior"] = priors.TopHat(mini=0.0, maxi=2.0)
model = SpecModel(params)
sps = EmulatorSPS()
sps

# %% [markdown]
# Prospector's own call works as before. The fluxes are a mock galaxy's.

# %%
filters = load_filters(
    [f"sdss_{b}0" for b in "ugriz"]
    + [f"twomass_{b}" for b in ("J", "H", "Ks")]
    + [f"wise_w{i}" for i in (1, 2, 3, 4)]
)
truth = model.theta.copy()
truth[model.theta_index["logmass"]] = 10.5
obs = {"filters": filters, "wavelength": None, "spectrum": None, "unc": None}
spectrum, photometry, mfrac = model.predict(truth, obs=obs, sps=sps)

rng = np.random.default_rng(3)
obs["maggies_unc"] = 0.05 * photometry
obs["maggies"] = photometry + obs["maggies_unc"] * rng.normal(size=len(filters))
obs["phot_mask"] = np.isfinite(obs["maggies"])

# %% [markdown]
# One vector at a time the pace is Prospector's own, milliseconds. In batches it is a thousand times
# faster. Both give the same fluxes.

# %%
posterior = BatchedPosterior(model, obs, sps)
theta = posterior.prior_transform(rng.random((2000, model.ndim)))

start = time.perf_counter()
batch = posterior.maggies(theta)
batched = (time.perf_counter() - start) / len(theta)
start = time.perf_counter()
single = np.array([model.predict(t, obs=obs, sps=sps)[1] for t in theta[:50]])
one = (time.perf_counter() - start) / 50

print(f"{1e6 * one:.0f} us by predict, {1e6 * batched:.1f} us in a batch")
print(f"largest relative difference of bands: {np.abs(batch[:50] / single - 1).max():.1e}")

# %% [markdown]
# `fit_model` has the signature and the return value of `prospect.fitting.fit_model`, and samples in
# batches. (Prospector's own works with this `sps` too, at Prospector's pace.)

# %%
output = fit_model(obs, model, sps, nested_nlive_init=300, nested_maxbatch=0, seed=2, verbose=False)
result = FitResult.from_run(output, model, obs, sps)
result

# %%
result.plot_sed()

# %% [markdown]
# A script in the form of Prospector's parameter files (`build_obs`, `build_model`, `build_sps`)
# need not be changed at all:
#
# ```sh
# prospect-emu describe my_params.py
# prospect-emu run my_params.py
# ```
