# %% [markdown]
# # Dust emission
#
# Emission of THEMIS dust as a function of the starlight's intensity `U`, the age `tau` of the burst
# that heats it, and the smallest grain size `a_min`: spectra, photometry in 70 bands, and the
# inverse.

# %%
import numpy as np
from matplotlib.figure import Figure

from prospect_emu.dust import load_dust_emulator

emulator = load_dust_emulator()
intensity = np.array([1.0, 10.0, 1000.0])
spectra = emulator.spectrum(intensity, 1e9, 0.4)  # W/Hz/kg

figure = Figure(figsize=(7, 4), layout="constrained")
ax = figure.subplots()
for value, one in zip(intensity, spectra, strict=True):
    ax.loglog(emulator.wavelengths, one, label=f"U = {value:g}")
ax.set(xlabel="Wavelength [$\\mu$m]", xlim=(1, 2000), ylabel="Emission [W Hz$^{-1}$ kg$^{-1}$]")
ax.set_ylim(spectra.max() * 1e-6, spectra.max() * 2)
ax.legend()
figure

# %% [markdown]
# In bands, by sedpy's names and those of IRAS, AKARI, Planck and SCUBA-2:

# %%
bands = ["iras_60", "iras_100", "planck_857"]
print(emulator.photometry(10.0, 1e9, 0.4, bands=bands))

# %% [markdown]
# The command line gives the same: `prospect-emu dust spectrum --U 10 --tau 1e9 --a-min 0.4`, and
# `prospect-emu dust estimate` the parameters of observed fluxes; see [dust emission](../dust.md).
