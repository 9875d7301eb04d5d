# %% [markdown]
# # A catalog
#
# A campaign fits every galaxy of a table. It can be stopped at any time; the same command goes on.
# Here it has three mock galaxies, and very short fits.

# %%
import subprocess
import sys
import tempfile
from pathlib import Path

from astropy.table import Table

folder = Path(tempfile.mkdtemp())


def run(*command):
    """A command, with what it prints."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    print(done.stdout[-1500:], done.stderr[-500:])


run(sys.executable, "-m", "prospect_emu.fits.mocks", "mocks.ecsv", "--n", "3",
    "--fluxes", "mathews23-factored", "--seed", "5")  # fmt: skip

# %% [markdown]
# The campaign is one TOML file. Unknown or misspelt settings are refused before anything runs.

# %%
(folder / "mine.toml").write_text(
    """
name = "three mocks"
output = "mine"
emulators = ["mathews23-factored"]

[catalog]
kind = "mocks"
path = "mocks.ecsv"

[fit]
nlive = 100
walks = 20
n_eff = 500
max_error = 9.0  # so short a fit knows its means badly: for a demonstration only

[executor]
kind = "local"
workers = 1
"""
)
command = Path(sys.executable).with_name("prospect-emu")  # on your PATH: "prospect-emu"
run(command, "campaign", "mine.toml")

# %% [markdown]
# The results are one table, in ECSV and FITS, and a page `mine/summary/index.html`.

# %%
results = Table.read(folder / "mine" / "results.ecsv")
print(len(results.colnames), "columns")
results["galaxy", "state", "logmass_p16", "logmass_p50", "logmass_p84", "true_logmass"]
