# %% [markdown]
# # Samples and figures
#
# What can be done with a result. First, a quick one: five broad bands, a simple model.

# %%
import tempfile
from pathlib import Path

import numpy as np

import prospect_emu

folder = Path(tempfile.mkdtemp())
table = folder / "galaxy.csv"
table.write_text(
    "band,flux [uJy],error [uJy]\n"
    "sdss_g0,12.1,0.6\nsdss_r0,24.5,1.2\nsdss_i0,33.0,1.6\nsdss_z0,40.2,2.0\ntwomass_Ks,62.0,5.0\n"
)
result = prospect_emu.fit(
    table, zred=0.15, model="parametric_sfh", seed=4, nested_nlive_init=300, nested_maxbatch=0
)
result

# %% [markdown]
# ## Samples
#
# As an astropy table, weighted or drawn:

# %%
samples = result.table()
print(samples.colnames)
drawn = result.table(draws=2000)
print(np.percentile(drawn["logmass" if "logmass" in drawn.colnames else "mass"], [16, 50, 84]))

# %% [markdown]
# As [anesthetic](https://anesthetic.readthedocs.io)'s or [ArviZ](https://python.arviz.org)'s
# objects, where they are installed: `result.to_anesthetic()`, `result.to_arviz()`.
#
# ## Figures

# %%
result.plot_sed(unit="uJy")

# %%
result.plot_corner(draws=3000)

# %% [markdown]
# Each is a Matplotlib figure of its own, which `savefig` writes.

# %%
result.plot_sfh().savefig(folder / "sfh.pdf")
print(sorted(p.name for p in folder.iterdir()))
