# %% [markdown]
# # Your own FSPS
#
# The bundled tables of stars are FSPS's with PARSEC isochrones and the Castelli & Kurucz (2004)
# library. Most FSPS installations have MIST and MILES instead, and masses and ages then differ by
# 0.02-0.07 dex. Where python-fsps is installed, one command makes tables of it, compares them with
# it, and they are preferred from then on:
#
# ```sh
# prospect-emu ingredients                # FSPS's default IMF
# prospect-emu ingredients imf_type=1     # another one
# prospect-emu list                       # what there is, and what is used
# ```
#
# What a fit stands on is part of `sps`, of each result and of the log:

# %%
from prospect_emu import EmulatorSPS
from prospect_emu.sps.ingredients import list_ingredients

print(EmulatorSPS())
for path, manifest in list_ingredients():
    print(path.name, manifest.get("label"), "imf_type", manifest["parameters"].get("imf_type"))

# %% [markdown]
# ## FSPS's spectra in arrays
#
# Below Prospector's interface, FSPS's parameters by name give spectra of many galaxies at once.
# Here: how the slope of the dust law changes an old galaxy's light.

# %%
import numpy as np
from matplotlib.figure import Figure

from prospect_emu.sps.ingredients import find_ingredients
from prospect_emu.sps.spectrum import spectrum

slopes = np.array([-0.7, -0.3, 0.1])
out = spectrum(
    find_ingredients(imf_type=1),
    {
        "sfh": 4, "tau": 1.0, "tage": 5.0, "mass": 1.0, "logzsol": 0.0, "dust_type": 4,
        "dust2": 0.6, "dust_index": slopes, "add_dust_emission": True,
    },
)  # fmt: skip
figure = Figure(figsize=(7, 4), layout="constrained")
ax = figure.subplots()
for slope, lnu in zip(slopes, out.lnu, strict=True):
    ax.loglog(out.wave / 1e4, lnu, label=f"dust_index = {slope:g}")
ax.set(xlim=(0.09, 1000), ylim=(1e-17, 1e-12), xlabel="Wavelength [$\\mu$m]")
ax.set_ylabel(r"$L_\nu$ [$L_\odot$ Hz$^{-1}$ $M_\odot^{-1}$]")
ax.legend()
figure
