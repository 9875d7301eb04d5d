# %% [markdown]
# # Photometric redshifts
#
# With `zred` free the band fluxes are tabulated over redshift once, for all fits with these bands,
# and a parameter vector then takes tens of microseconds.

# %%
import numpy as np
from prospect.models import SpecModel, priors
from prospect.models.templates import TemplateLibrary
from sedpy.observate import load_filters

from prospect_emu import EmulatorSPS, FitResult, fit_model

params = TemplateLibrary["parametric_sfh"]
params.update(TemplateLibrary["igm"])
params["zred"] = {"N": 1, "isfree": True, "init": 1.0, "prior": priors.TopHat(mini=0.5, maxi=2.0)}
params["tage"]["prior"] = priors.TopHat(mini=0.1, maxi=3.0)
model = SpecModel(params)
sps = EmulatorSPS()

# %% [markdown]
# A mock galaxy at z = 1.3, in eight bands with errors of 5 %.

# %%
bands = [f"sdss_{b}0" for b in "ugriz"] + [f"twomass_{b}" for b in ("J", "H", "Ks")]
obs = {"filters": load_filters(bands), "wavelength": None, "spectrum": None, "unc": None}
truth = model.theta.copy()
for name, value in {"zred": 1.3, "mass": 3e10, "tage": 2.0, "tau": 0.6, "dust2": 0.3}.items():
    truth[model.theta_index[name]] = value
photometry = model.predict(truth, obs=obs, sps=sps)[1]
obs["maggies_unc"] = 0.05 * photometry
obs["maggies"] = photometry + obs["maggies_unc"] * np.random.default_rng(1).normal(size=len(bands))
obs["phot_mask"] = np.ones(len(bands), dtype=bool)

# %%
output = fit_model(obs, model, sps, nested_nlive_init=300, nested_maxbatch=0, seed=1, verbose=False)
result = FitResult.from_run(output, model, obs, sps)
low, mid, high = np.percentile(result.table(draws=5000)["zred"], [16, 50, 84])
print(f"z = {mid:.3f} +{high - mid:.3f} -{mid - low:.3f}, true 1.3")
result

# %% [markdown]
# The redshift's posterior against mass and dust:

# %%
result.plot_corner(draws=5000)
