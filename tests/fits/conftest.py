"""A small campaign: a toy emulator, mock galaxies made with it, and fits of a second."""

import json
import os
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from prospect_emu.fits.campaign import run_campaign
from prospect_emu.fits.config import read_config
from prospect_emu.fits.results import RUN_COLUMNS, read_results
from prospect_emu.fits.work import run_task
from prospect_emu.networks.vector import BOX, PARAMETERS

BANDS = (
    "acs_wfc_f606w", "acs_wfc_f814w", "wfc3_ir_f125w", "wfc3_ir_f160w", "spitzer_irac_ch1",
    "spitzer_irac_ch2",
)  # fmt: skip

TOML = """
output = "{output}"
emulators = ["{emulator}"]
{top}

[catalog]
kind = "table"
path = "{catalog}"
unit = "mgy"

[catalog.bands]
{bands}

[fit]
nlive = 36
walks = 5
dlogz = 3.0
n_eff = 10
max_batch = 0
max_error = 9.0
{fit}

[executor]
{executor}
"""


class Workshop:
    """Makes catalogs and configurations in a folder, and runs campaigns there."""

    def __init__(self, folder, emulator):
        self.folder, self.emulator = Path(folder), emulator
        self.file = self.folder / "toy.safetensors"
        emulator.save(self.file)
        self.catalog(2)

    def catalog(self, n, name="cat.ecsv", broken=()):
        """`n` galaxies; the fluxes of those in `broken` are NaN."""
        rng = np.random.default_rng(5)
        box = np.array([BOX[p] for p in PARAMETERS])
        theta = box.mean(axis=1) + 0.2 * rng.uniform(-1, 1, (n, 18)) * np.diff(box, axis=1).T
        theta[:, 0], theta[:, 14] = 10.5, np.linspace(0.6, 1.8, n)
        flux = self.emulator.maggies(theta)
        flux[list(broken)] = np.nan
        table = Table({"id": np.arange(100, 100 + n), "zred": theta[:, 14]})
        for j in range(len(self.emulator.filters)):
            table[f"f{j}"] = flux[:, j]
            table[f"e{j}"] = 0.05 * np.abs(flux[:, j])
        table.write(self.folder / name, format="ascii.ecsv", overwrite=True)
        return self.folder / name

    def toml(self, name="c", top="", fit="", executor="", catalog="cat.ecsv", bands=None):
        """Writes NAME.toml, whose campaign's folder is NAME."""
        # Longer queues from so few live points leave them stuck on one likelihood.
        if "queue_size" not in fit:
            fit = f"queue_size = 4\n{fit}"
        bands = self.emulator.filters if bands is None else bands
        lines = "\n".join(f'{b} = {{ flux = "f{j}", error = "e{j}" }}' for j, b in enumerate(bands))
        text = TOML.format(
            output=name, emulator="toy.safetensors", top=top, fit=fit, executor=executor,
            catalog=catalog, bands=lines,
        )  # fmt: skip
        path = self.folder / f"{name}.toml"
        path.write_text(textwrap.dedent(text))
        return path

    def config(self, *args, **kwargs):
        return read_config(self.toml(*args, **kwargs))

    def config_with(self, lines, fit=""):
        """With more lines in [catalog]; a `fit` that names a model has no emulator."""
        file = self.toml(fit=fit)
        text = file.read_text().replace('unit = "mgy"', f'unit = "mgy"\n{lines}')
        if "model" in fit:
            text = text.replace('emulators = ["toy.safetensors"]', "")
        file.write_text(text)
        return read_config(file)

    def start(self, *words, env=None, **popen):
        """The command line in a process of its own."""
        return self.python("-m", "prospect_emu.commands.cli", *words, env=env, **popen)

    def bare(self, config, **popen):
        """A campaign without tables and figures, in a process of its own."""
        code = (
            "import sys\n"
            "from prospect_emu.fits.campaign import run_campaign\n"
            "from prospect_emu.fits.config import read_config\n"
            "run_campaign(read_config(sys.argv[1]))\n"
        )
        return self.python("-c", code, config, **popen)

    def python(self, *words, env=None, **popen):
        command = [sys.executable, *map(str, words)]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", **(env or {})}
        return subprocess.Popen(
            command, cwd=self.folder, env=environment, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, **popen,
        )  # fmt: skip

    def run(self, *words, **popen):
        """The same, waited for: (exit status, stdout, stderr)."""
        process = self.start(*words, **popen)
        out, err = process.communicate(timeout=400)
        return process.returncode, out, err

    def log(self, name="c"):
        """Lines of a campaign's log."""
        path = self.folder / name / "log.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()]


class Inline:
    """An executor that makes each fit in this very process, one after the other."""

    def __init__(self, function=run_task):
        self.function, self.running, self.seen = function, [], []

    @property
    def free(self):
        return 1 - len(self.running)

    def submit(self, task):
        self.running.append(task)
        self.seen.append(task.key)

    def collect(self, timeout):
        task = self.running.pop()
        return [(task, self.function(task))]

    def close(self):
        self.running = []


def science(table):
    """A results table without what may differ between two runs of the same fits."""
    table = table.copy()
    table.remove_columns([c for c in RUN_COLUMNS if c in table.colnames])
    table.meta.clear()
    return table


def assert_same_tables(a, b):
    a, b = science(a), science(b)
    assert a.colnames == b.colnames
    for name in a.colnames:
        np.testing.assert_array_equal(np.asarray(a[name]), np.asarray(b[name]), err_msg=name)


@pytest.fixture(scope="session")
def same_tables():
    return assert_same_tables


@pytest.fixture(scope="session")
def make_workshop(make_emulator):
    return lambda folder: Workshop(folder, make_emulator(bands=BANDS))


@pytest.fixture
def workshop(tmp_path, make_workshop):
    return make_workshop(tmp_path)


@pytest.fixture
def inline():
    return Inline()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """Makes the results table of a campaign on n galaxies that nothing disturbs, once per n."""
    made = {}

    def make(workshop, n):
        if n not in made:
            calm = Workshop(tmp_path_factory.mktemp("calm"), workshop.emulator)
            calm.catalog(n)
            config = calm.config()
            run_campaign(config, executor=Inline())
            made[n] = read_results(config.output).table
        return made[n]

    return make


@pytest.fixture(scope="session")
def wait_until():
    def wait(condition, seconds=300.0):
        """Polls; fails the test if the condition does not come true."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.02)
        raise AssertionError("what the test waits for did not happen")

    return wait
