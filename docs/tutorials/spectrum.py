# %% [markdown]
# # A spectrum
#
# A low-resolution spectrum, like one of NIRSpec's prism, is fitted together with photometry. The
# galaxy is a mock at z = 2.1, so that the answer is known. Its flux calibration is off by up to
# 10 %, as it often is in slit spectra.

# %%
import tempfile
from pathlib import Path

import numpy as np
from astropy.table import Table
from sedpy.observate import load_filters

import prospect_emu
from prospect_emu import EmulatorSPS
from prospect_emu.observe.spectrum_files import line_spread
from prospect_emu.prospector.spectral import spectral_model
from prospect_emu.prospector.templates import template_params
from prospect_emu.sps.ingredients import find_ingredients

folder, rng = Path(tempfile.mkdtemp()), np.random.default_rng(6)
bands = [f"jwst_f{n}w" for n in ("090", "115", "150", "200", "277", "356", "444")]
wave = np.geomspace(0.9, 4.8, 250)  # micron, vacuum

# Prospector's templates, with age bins that end at the age of the universe.
params, _ = template_params("continuity_sfh+nebular", 2.1)
params["logmass"]["init"] = 10.3
params["logzsol"]["init"], params["dust2"]["init"] = -0.4, 0.3
params["logsfr_ratios"]["init"] = np.array([0.3, 0.4])
# R = lambda / FWHM = 100.
width = line_spread("R=100", wave * 1e4)
model, _ = spectral_model(params, wave * 1e4, width, find_ingredients(imf_type=2), polyorder=0)
# Prospector leaves lines out of the spectrum where obs holds none, so it is given one of ones.
ones = np.ones(wave.size)
obs = {"filters": load_filters(bands), "wavelength": wave * 1e4, "spectrum": ones, "unc": ones}
obs["mask"] = ones > 0
spectrum, photometry, _ = model.predict(model.theta, obs=obs, sps=EmulatorSPS())

# %% [markdown]
# Two tables, as a reduction would give them: photometry with errors of 5 %, and a spectrum with a
# signal-to-noise ratio of 20 per pixel.

# %%
microjansky = 3631e6  # per maggie
flux = microjansky * photometry * (1 + 0.05 * rng.normal(size=len(bands)))
Table(
    {"band": bands, "flux": flux, "error": 0.05 * microjansky * photometry},
    units={"flux": "uJy", "error": "uJy"},
).write(folder / "photometry.ecsv")
calibration = 1 + 0.1 * np.sin(2 * np.log(wave))
flux = microjansky * spectrum * calibration * (1 + 0.05 * rng.normal(size=wave.size))
Table(
    {"wavelength": wave, "flux": flux, "err": 0.05 * microjansky * spectrum},
    units={"wavelength": "um", "flux": "uJy", "err": "uJy"},
).write(folder / "spectrum.ecsv")

# %% [markdown]
# The fit. At each step the model spectrum is multiplied by the polynomial of order 4 that brings it
# closest to the data, as in Prospector's `PolySpecModel`.
#
# The same from the command line: `prospect-emu fit photometry.ecsv --zred 2.1 --spectrum
# spectrum.ecsv --resolution R=100 --polyorder 4 --model continuity_sfh+nebular`.

# %%
result = prospect_emu.fit(
    folder / "photometry.ecsv", zred=2.1, model="continuity_sfh+nebular",
    spectrum=folder / "spectrum.ecsv", resolution="R=100", polyorder=4,
    seed=1, nested_nlive_init=100, nested_maxbatch=0,
)  # fmt: skip
result

# %% [markdown]
# Observed and fitted spectrum, residuals, and the calibration that was found:

# %%
result.plot_spectrum()

# %% [markdown]
# The whole spectral energy distribution, with what stars and gas contribute:

# %%
result.plot_sed(components=result.components())

# %% [markdown]
# The parameters, against the true ones:

# %%
truth = {n: np.ravel(params[n]["init"]) for n in ("logmass", "logzsol", "dust2", "logsfr_ratios")}
print(truth)
result.summary()["parameter", "p16", "p50", "p84", "unit"].pprint(max_lines=-1)

# %% [markdown]
# Files of spectra that can be read, line-spread functions, and what runs in batches:
# [spectra](../spectra.md).
