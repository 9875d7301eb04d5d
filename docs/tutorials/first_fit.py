# %% [markdown]
# # First fit
#
# A galaxy in 45 bands, fitted with the 18-parameter model of Mathews et al. (2023). FSPS is not
# needed. The bundled galaxy is a mock, so that the answer is known.
#
# This page is a script, `docs/tutorials/first_fit.py`, that is run when the documentation is
# built. To save time it uses fewer live points than a fit that you would publish
# (`nested_nlive_init=2000`, the default).

# %%
import prospect_emu

result = prospect_emu.fit(seed=1, nested_nlive_init=300, nested_maxbatch=0)
result

# %% [markdown]
# With a table of your own it is `prospect_emu.fit("table.csv", zred=1.1)`. The table has a row per
# band and the columns `band` (sedpy's names), `flux` and `error`, with units. The command line does
# the same: `prospect-emu fit table.csv --zred 1.1`.
#
# The spectral energy distribution: observed fluxes, the posterior's prediction, residuals.

# %%
result.plot_sed()

# %% [markdown]
# The star-formation history. The dashed line is the truth.

# %%
result.plot_sfh()

# %% [markdown]
# Percentiles of all parameters and of the quantities that follow from them. `truth` is NaN where it
# is not known.

# %%
result.summary()["parameter", "p16", "p50", "p84", "unit", "truth"].pprint(max_lines=-1)

# %% [markdown]
# How the fit went: the status, the evidence, the number of likelihood calls and their time.

# %%
info = result.info
print(result)
print(info["ncall"], "calls in", round(info["seconds"], 1), "s; problems:", info["problems"])
print("{} of {} true parameters lie inside their 95 % intervals".format(*result.truth_inside()))

# %% [markdown]
# One file keeps it all. Prospector's own reader opens it too.

# %%
import tempfile
from pathlib import Path

from prospect.io.read_results import results_from

from prospect_emu import FitResult

path = Path(tempfile.mkdtemp()) / "posterior.h5"
result.write(path)
again = FitResult.read(path)
chain = results_from(str(path))[0]["chain"]
print(again, chain.shape)
