"""What goes wrong at the edges of a campaign: odd names, blanks, changed files, lost workers."""

import errno
import os
import re
import shlex
import shutil
import subprocess
import threading
import types
from unittest import mock
from urllib.parse import unquote

import h5py
import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from prospect.io.read_results import results_from

from prospect_emu.commands.cli import main
from prospect_emu.errors import DataError, ModelFileError, OutputError, SetupError
from prospect_emu.fit.result import FitResult
from prospect_emu.fits import (
    backends,
    campaign_commands,
    catalogs,
    fingerprints,
    locks,
    rows,
    work,
)
from prospect_emu.fits.campaign import Options, campaign_status, make_plan, run_campaign
from prospect_emu.fits.campaign_report import write_summary
from prospect_emu.fits.config import parse_config, read_config
from prospect_emu.fits.executors import DaskExecutor, WorkerLost
from prospect_emu.fits.fingerprints import Key, file_name
from prospect_emu.fits.results import read_results, write_results
from prospect_emu.fits.sections import ExecutorConfig, SelectConfig
from prospect_emu.fits.slurm import write_script
from prospect_emu.fits.store import Store

from .conftest import BANDS

VERSIONS = fingerprints.versions()


@pytest.fixture
def table(workshop):
    """The catalog, and a function that writes it again."""
    path = workshop.folder / "cat.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    return table, lambda: table.write(path, format="ascii.ecsv", overwrite=True)


def kept(workshop, *names):
    text = workshop.toml().read_text()
    words = ", ".join(f'"{n}"' for n in names)
    (workshop.folder / "c.toml").write_text(
        text.replace("[catalog]", f"[catalog]\nkeep = [{words}]")
    )
    return read_config(workshop.folder / "c.toml")


def test_odd_names(workshop, inline, table):
    """A leading dot is no leftover of a write; FITS gets escapes for letters that it lacks."""
    rows, write = table
    rows["id"] = np.array([".x2", "\u00c42"])
    write()
    config = workshop.config()
    assert run_campaign(config, executor=inline) == {"done": 2}
    assert run_campaign(config, executor=inline) == {"done": 2}
    assert len(inline.seen) == 2  # nothing was fitted twice
    results = read_results(config.output)
    assert list(results.table["galaxy"]) == [".x2", "\u00c42"]
    fits = Table.read(write_results(results, config.output)[1])
    assert list(fits["galaxy"].astype(str)) == [".x2", "\\xc42"]


def test_kept_columns(workshop, inline, table):
    """Blanks stay blanks; a column that is asked for later arrives without new fits."""
    rows, write = table
    rows["mass"] = MaskedColumn([9.5, 1.0], mask=[False, True])
    rows["field"] = "cosmos"
    write()
    run_campaign(kept(workshop, "mass"), executor=inline)
    results = read_results(workshop.folder / "c").table
    np.testing.assert_array_equal(results["mass"], [9.5, np.nan])
    run_campaign(kept(workshop, "mass", "field"), executor=inline)
    assert len(inline.seen) == 2
    assert list(read_results(workshop.folder / "c").table["field"]) == ["cosmos", "cosmos"]


def test_kept_columns_called_like_results(workshop, inline, table):
    """The catalog's chi2 and the fits' were one column, where a fit had none the catalog's."""
    rows, write = table
    rows["chi2"], rows["Logmass_p50"], rows["mass"] = -1.0, 3.0, 2.0
    write()
    config = kept(workshop, "zred", "chi2", "Logmass_p50", "mass")
    run_campaign(config, executor=inline)
    results = read_results(config.output)
    assert list(results.table["catalog_chi2"]) == [-1.0, -1.0]
    assert list(results.table["catalog_Logmass_p50"]) == [3.0, 3.0]
    assert list(results.table["mass"]) == [2.0, 2.0]
    assert np.all(results.table["chi2"] > 0) and np.all(results.table["logmass_p50"] > 6)
    np.testing.assert_allclose(results.table["zred"], results.table["catalog_zred"])
    assert Table.read(write_results(results, config.output)[1])["catalog_chi2"][0] == -1.0


def test_ids_whose_capitals_differ(workshop, inline, table):
    """Some disks take ``A.h5`` and ``a.h5`` for one file; other ids keep their plain names."""
    rows, write = table
    rows["id"] = ["A", "a"]
    write()
    config = kept(workshop)
    run_campaign(config, executor=inline)
    files = [p.name for p in workshop.folder.glob("c/fits/toy/*.h5")]
    assert len({name.lower() for name in files}) == 2
    store = Store(config.output)  # finds them again, as another process does
    for galaxy in ("A", "a"):
        assert store.record(Key("toy", galaxy, 0))["galaxy"] == galaxy
    assert store.fit_path(Key("toy", "B", 0)).name == "B_r0.h5"


def test_names_of_files_are_safe_and_differ(workshop, inline, table):
    """Ids of 260 characters, and ids whose SEDs had one file."""
    assert file_name("a" * 260) != file_name("a" * 259 + "b")
    assert len(f".{Key('e', 'é' * 260, 0).name.split('/')[1]}.h5.12345678") < 255
    assert file_name("90052") == "90052" and "/" not in file_name("a/b")
    rows, write = table
    rows["id"] = np.array(["a/b", "a_2Fb" + "x" * 255])
    write()
    config = workshop.config()
    assert run_campaign(config, executor=inline) == {"done": 2}
    page = write_summary(read_results(config.output), config.output)
    links = re.findall('(?:href|src)="([^"]+)"', page.read_text())
    assert len(links) == len(set(links)) and sum("_r0" in link for link in links) == 2
    for link in links:
        assert (page.parent / unquote(link)).is_file()


def test_an_interrupted_refit_loses_nothing(workshop, inline):
    run_campaign(workshop.config(), executor=inline)
    files = {p: p.read_bytes() for p in (workshop.folder / "c" / "fits").glob("*/*.h5")}

    def interrupted(task):
        raise KeyboardInterrupt

    other = workshop.config(fit="inflate = false")
    with pytest.raises(KeyboardInterrupt):
        run_campaign(other, Options(refit=True), executor=type(inline)(interrupted))
    assert len(files) == 2 and {p: p.read_bytes() for p in files} == files
    assert run_campaign(other, Options(refit=True), executor=inline) == {"done": 2}


def test_stalled_fits_are_made_again(workshop, inline):
    """Only if asked for; until then they stay."""
    config = workshop.config(fit="max_calls = 60")
    assert run_campaign(config, executor=inline) == {"stalled": 2}
    assert run_campaign(config, executor=inline) == {"stalled": 2}
    assert len(inline.seen) == 2
    stamps = [p.stat().st_mtime_ns for p in (workshop.folder / "c" / "fits").glob("*/*.h5")]
    run_campaign(config, Options(retry_stalled=True), executor=inline)
    again = [p.stat().st_mtime_ns for p in (workshop.folder / "c" / "fits").glob("*/*.h5")]
    assert len(inline.seen) == 4 and not set(again) & set(stamps)


def test_an_emulator_that_changes_meanwhile(workshop, inline, make_emulator):
    config = workshop.config()
    store = Store(config.output)
    store.create()
    first, second = make_plan(config, store).tasks.values()
    assert inline.function(first)["state"] == "finished"
    # As another process would find it: another file than the one that was fingerprinted.
    other = workshop.folder / "other.safetensors"
    make_emulator(bands=workshop.emulator.filters, seed=3).save(other)
    changed = types.SimpleNamespace(**{**vars(second), "backend": str(other)})
    outcome = inline.function(changed)
    assert outcome["state"] == "halt" and "other emulator.sha256" in outcome["error"]


def test_no_galaxy_is_left(workshop, inline):
    text = workshop.toml().read_text() + "\n[select]\nmin_bands = 7\n"
    (workshop.folder / "c.toml").write_text(text)
    with pytest.raises(DataError, match=r"No galaxy is left to fit: 2 are left out, 2 of them"):
        run_campaign(read_config(workshop.folder / "c.toml"), executor=inline)


def test_error_floors():
    def floor(**catalog):
        data = {"catalog": {"path": "x", **catalog}, "emulators": ["toy"], "output": "o"}
        return parse_config(data).catalog.floor

    assert floor(kind="3dhst") == floor(kind="table") == 0.05
    assert floor(kind="mocks") == 0.0  # their errors are those of their noise
    with pytest.raises(SetupError, match=r"catalog.error_floor = 5 is not a fraction"):
        floor(kind="table", error_floor=5.0)


def test_selection_by_integers_with_blanks():
    """A blank equals nothing and lies in no range."""
    table = Table({"flag": MaskedColumn([1, 1, 0], mask=[False, True, False])})
    sample = catalogs.Sample(
        ids=("a", "b", "c"), table=table, zred=np.ones(3), bands=(),
        make=lambda row: {"phot_mask": np.ones(9, dtype=bool)},
    )  # fmt: skip
    assert catalogs.select(sample, SelectConfig(equal={"flag": 1}))[0] == [0]
    assert catalogs.select(sample, SelectConfig(range={"flag": [0, 1]}))[0] == [0, 2]


def test_job_arrays_keep_flags_and_show_that_they_run(workshop, capsys):
    toml = workshop.toml(executor='kind = "slurm"')
    assert main(["campaign", str(toml), "--refit", "--accept", "versions.numpy"]) == 0
    script = (workshop.folder / "c" / "slurm" / "campaign.sbatch").read_text()
    assert "--refit --accept=versions.numpy" in script
    assert main(["campaign", str(toml), "--chunk", "0/2", "--quiet"]) == 0
    store = Store(workshop.folder / "c")
    assert campaign_status(store.folder)["holder"] is None
    with store.lock(shared=True):
        assert "process" in campaign_status(store.folder)["holder"]
        read_results(store.folder)
        assert not store.read_json("index.json")  # it belongs to whoever runs
    read_results(store.folder)
    assert store.read_json("index.json")  # the next reader need not open every file


# ---- settings that need no new fit, or are wrong -----------------------------------------


def test_a_raised_budget_concerns_stalled_fits_alone(workshop, inline, same_tables):
    """What converged stays, without --refit; what stalled is fitted as if it had never been."""
    free = workshop.config("free")
    run_campaign(free, executor=inline)
    calls = sorted(read_results(free.output).table["ncall"])
    assert calls[0] < calls[1]
    between = (calls[0] + calls[1]) // 2 + 1
    assert run_campaign(workshop.config(fit=f"max_calls = {between}"), executor=inline) == {
        "done": 1, "stalled": 1,
    }  # fmt: skip
    again = type(inline)()
    assert run_campaign(workshop.config(fit=f"max_calls = {between - 1}"), executor=again) == {
        "done": 1, "stalled": 1,
    }  # fmt: skip
    assert not again.seen  # a lower budget gives nothing new
    assert run_campaign(workshop.config(), executor=again) == {"done": 2}
    assert len(again.seen) == 1
    same_tables(read_results(workshop.folder / "c").table, read_results(free.output).table)
    assert campaign_status(workshop.folder / "c")["states"] == {"done": 2}


def test_a_certificate_is_added_without_a_fit(workshop, inline, same_tables, monkeypatch):
    """The same as if it had been asked for at once."""
    toy = workshop.emulator
    exact = lambda theta: 1.001 * toy.maggies(theta, check=False)[:, : len(BANDS)]  # noqa: E731
    monkeypatch.setattr(backends, "find_engine", lambda emulator, tables: ("toy", exact))
    at_once = workshop.config("once", fit="certificate = 200")
    run_campaign(at_once, executor=inline)
    run_campaign(workshop.config(), executor=inline)
    again = type(inline)()
    config = workshop.config(fit="certificate = 200")
    with monkeypatch.context() as m:
        m.setattr(backends.Backend, "fit", None)
        assert run_campaign(config, executor=again) == {"done": 2}
    assert len(again.seen) == 2
    results = read_results(config.output).table
    assert np.isfinite(results["dlogz"]).all()
    same_tables(results, read_results(at_once.output).table)
    with pytest.raises(OutputError, match=r"another settings\.certificate"):
        run_campaign(workshop.config(fit="certificate = 300"), executor=inline)


@pytest.mark.parametrize(
    ("section", "setting", "message"),
    [
        ("fit", {"dlogz": 0.0}, "fit.dlogz = 0.0 must be a positive number"),
        ("fit", {"dlogz": float("nan")}, "fit.dlogz = nan must be a positive number"),
        ("fit", {"max_error": float("nan")}, "fit.max_error = nan must be a positive number"),
        ("fit", {"max_seconds": -1}, "fit.max_seconds = -1.0 must be a positive number"),
        ("fit", {"queue_size": 0}, "fit.queue_size = 0 is too small"),
        ("fit", {"tables": "nowhere.safetensors"}, "there is no file fit.tables = 'nowhere"),
        ("fit", {"params": "x" * 300}, "there is no file fit.params = 'xxx"),
        ("fit", {"certificate": 20}, "fit.certificate = 20 is too few draws; give 200"),
        ("catalog", {"mips_factor": 0}, "catalog.mips_factor = 0.0 must be a positive"),
        ("catalog", {"zeropoints": {"b": "x"}}, "catalog.zeropoints.b = 'x' must be a positive"),
        ("catalog", {"keep": [3]}, "catalog.keep holds 3; it must hold texts"),
        ("select", {"range": {"z": [1]}}, r"select.range.z must be \[lowest, highest\]"),
        ("select", {"range": {"z": ["a", "b"]}}, r"select.range.z must be \[lowest, highest\]"),
        ("select", {"range": {"z": [2, 1]}}, r"select.range.z must be \[lowest, highest\]"),
        ("executor", {"sbatch": ["--time=1\n#SBATCH --x"]}, "executor.sbatch holds"),
        ("executor", {"address": "tcp://a\n"}, "executor.address = .* holds a line break"),
        ("catalog", {"path": "x\0y"}, "catalog.path = .* holds a line break or the like"),
    ],
)
def test_bad_settings_are_refused_before_anything_runs(section, setting, message):
    data = {"catalog": {"kind": "3dhst", "path": "x"}, "emulators": ["e"], "output": "o"}
    with pytest.raises(SetupError, match=message):
        parse_config({**data, section: {**data.get(section, {}), **setting}})


def test_a_fault_of_the_installation_is_no_galaxys(workshop, inline, monkeypatch):
    """It stops the campaign, and nothing stays failed once it is corrected."""

    def broken(self, obs, config, seed):
        raise ModelFileError("the tables are damaged")

    with monkeypatch.context() as m:
        m.setattr(backends.Backend, "fit", broken)
        with pytest.raises(OutputError, match="stops at toy/100_r0: the tables are damaged"):
            run_campaign(workshop.config(), executor=inline)
    assert run_campaign(workshop.config(), executor=inline) == {"done": 2}


def test_kills_are_no_failures(workshop, inline):
    """Three killed workers marked a galaxy failed for good; now any later run makes the fit."""

    def preempted(task):
        return WorkerLost("preempted") if task.key.galaxy == "101" else inline.function(task)

    config = workshop.config(top="retries = 0")
    assert run_campaign(config, executor=type(inline)(preempted)) == {"done": 1, "pending": 1}
    status = campaign_status(config.output)
    assert "died 5 times (preempted)" in status["entries"][Key("toy", "101", 0)].detail
    assert run_campaign(config, executor=inline) == {"done": 2}


def test_accepted_differences_of_all_parts(workshop, inline, monkeypatch):
    """The plan of the last part to start called the results of the others changed."""
    workshop.catalog(4)
    config = workshop.config()
    run_campaign(config, executor=inline)
    monkeypatch.setattr(fingerprints, "versions", lambda: {**VERSIONS, "numpy": "9"})
    for part in (0, 1):
        options = Options(accept=("versions.numpy",), chunk=(part, 2))
        run_campaign(config, options, executor=inline)
    assert campaign_status(config.output)["states"] == {"done": 4}
    assert set(read_results(config.output).table["state"]) == {"done"}


def test_a_file_that_claims_38_gb_is_damaged(workshop, inline):
    config = workshop.config()
    run_campaign(config, executor=inline)
    path = Store(config.output).fit_path(Key("toy", "100", 0))
    with h5py.File(path, "r+") as f:
        del f["sampling/chain"]
        f["sampling"].create_dataset("chain", shape=(2_400_000_000, 2), dtype=float)
    status = campaign_status(config.output)
    assert status["states"] == {"done": 1, "damaged": 1}
    assert "claims to hold 38.4 GB" in status["entries"][Key("toy", "100", 0)].detail
    assert run_campaign(config, executor=inline) == {"done": 2}


# ---- file systems, schedulers ------------------------------------------------------------


@pytest.mark.parametrize("missing", ["flock", "fcntl"])
def test_without_locks(workshop, inline, monkeypatch, missing):
    """Lustre without flock, and Windows: the campaign runs, and says that it locks nothing."""
    if missing == "fcntl":
        monkeypatch.setattr(locks, "fcntl", None)
    else:
        error = OSError(errno.ENOSYS, "Function not implemented")
        monkeypatch.setattr(locks.fcntl, "flock", mock.Mock(side_effect=error))
    with pytest.warns(UserWarning, match="cannot be locked.*only one campaign"):
        assert run_campaign(workshop.config(), executor=inline) == {"done": 2}


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write all")
def test_a_folder_without_permission(workshop, inline):
    (workshop.folder / "c").mkdir(mode=0o500)
    with pytest.raises(OutputError, match=r"Cannot write in .*c \(Permission denied"):
        run_campaign(workshop.config(), executor=inline)


def test_a_folder_that_cannot_be_written(workshop, inline, monkeypatch):
    """As root, who may write everywhere."""
    real = open

    def refuse(path, mode="r", *args, **kwargs):
        if str(path).endswith("lock") and mode != "r":
            raise PermissionError(errno.EACCES, "Permission denied")
        return real(path, mode, *args, **kwargs)

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(OutputError, match=r"Cannot write in .*c \(Permission denied"):
        run_campaign(workshop.config(), executor=inline)


@pytest.mark.parametrize("name", ["my (first) 100% try; 'x' $HOME", "é #1"])
def test_batch_scripts_quote_names(tmp_path, name):
    """Read as bash reads it, and as sbatch does: whole words, no expansion."""
    folder = tmp_path / name
    config = parse_config(
        {"catalog": {"kind": "3dhst", "path": "x"}, "emulators": ["e"], "output": str(folder),
         "name": name, "executor": {"chunks": 5000}}
    )  # fmt: skip
    script = write_script(folder / "c.toml", config, folder, chunks=7)
    text = script.read_text()
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    words = dict(w.split("=", 1) for line in text.splitlines() if line.startswith("#SBATCH")
                 for w in shlex.split(line, posix=True)[1:])  # fmt: skip
    assert words["--output"] == str(folder).replace("%", "%%") + "/slurm/%A_%a.log"
    assert words["--array"] == "0-6" and re.fullmatch(r"[\w.+-]+", words["--job-name"])
    command = shlex.split(text.splitlines()[-1])
    assert str(folder / "c.toml") in command and command[-1].endswith("/7")


def test_names_that_no_batch_script_takes(tmp_path):
    data = {"catalog": {"kind": "3dhst", "path": "x"}, "emulators": ["e"], "output": "o"}
    with pytest.raises(SetupError, match="holds a line break"):
        parse_config({**data, "name": "a\n#SBATCH --wrap=x"})
    with pytest.raises(SetupError, match="which sbatch does not take"):
        write_script(tmp_path / "c.toml", parse_config(data), tmp_path / "a\nb")


def test_more_parts_than_the_cluster_takes(workshop, monkeypatch):
    """The array has no more parts than there are fits; sbatch's refusal names the setting."""
    fake = workshop.folder / "bin" / "sbatch"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho 'Invalid job array specification' >&2; exit 1\n")
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    toml = workshop.toml(executor='kind = "slurm"\nchunks = 5000')
    args = types.SimpleNamespace(
        refit=False, retry_failed=False, retry_stalled=False, verify=False, accept=[], submit=True
    )
    with pytest.raises(SetupError, match=r"executor\.chunks = 2 must be below MaxArraySize"):
        campaign_commands._slurm(args, toml, read_config(toml))


def test_workers_that_never_answer(workshop, inline):
    """Three times as many as there are workers, and not one fit: not the galaxies' fault."""
    workshop.catalog(6)
    dead = type(inline)(lambda task: WorkerLost("killed"))
    with pytest.raises(SetupError, match=r"4 workers died, and none ever finished \(killed\)"):
        run_campaign(workshop.config(), executor=dead)
    workshop.catalog(1)  # of one galaxy, each death is the same one's
    with pytest.raises(SetupError, match=r"5 workers died, and none ever finished"):
        run_campaign(workshop.config(), executor=dead)


def test_a_scheduler_without_workers_is_spoken_of():
    """Dask waits for workers without a word; the progress says for what."""
    client = mock.Mock(status="running", nthreads=mock.Mock(return_value={}))
    executor = DaskExecutor.__new__(DaskExecutor)
    executor._client, executor._tasks = client, {}
    assert executor.waiting == "the Dask scheduler has no workers; start some"
    progress = {"done": 0, "failed": 0, "stalled": 0, "pending": 3, "per_hour": 0.0,
                "seconds_left": None, "waiting": executor.waiting}  # fmt: skip
    assert campaign_commands._sentence(progress).endswith("; waiting: " + executor.waiting)
    client.nthreads.return_value = {"tcp://x": 1}
    assert executor.waiting == ""


def test_a_result_that_the_campaign_cannot_see(workshop, inline, tmp_path):
    def elsewhere(task):
        outcome = inline.function(task)
        shutil.move(task.path, tmp_path / "elsewhere.h5")
        return outcome

    with pytest.raises(OutputError, match=r"toy/100_r0.*must share the campaign's folder"):
        run_campaign(workshop.config(), executor=type(inline)(elsewhere))


def test_prospector_has_no_time_budget(workshop, monkeypatch):
    backend = types.SimpleNamespace(bands=None, zred_range=(0.0, 9.0), keeps_time=False)
    monkeypatch.setattr("prospect_emu.fits.plan.load_backend", lambda spec: backend)
    config = workshop.config(fit="max_seconds = 5.0")
    config = type(config)(**{**vars(config), "emulators": ("fsps",)})
    with pytest.raises(SetupError, match=r"no fit.max_seconds"):
        make_plan(config, Store(workshop.folder / "c"))


class FakeClient:
    """What `DaskExecutor` asks of a client."""

    status, threads = "running", 1

    def __init__(self, *args, **kwargs):
        self.keys = []

    def nthreads(self):
        return {"tcp://a": self.threads}

    def submit(self, function, task, pure, key):
        self.keys.append(key)
        return types.SimpleNamespace(key=key)


def test_dask_keys_and_threads(monkeypatch):
    """No two campaigns' tasks share a name, and a process never makes two fits at once."""
    pytest.importorskip("distributed", reason="dask.distributed is not installed")
    monkeypatch.setattr("dask.distributed.Client", FakeClient)
    config = ExecutorConfig(kind="dask", address="tcp://x:1")
    task = types.SimpleNamespace(key=Key("toy", "1", 0))
    keys = set()
    for _ in range(2):
        executor = DaskExecutor(eval, config)
        executor.submit(task)
        keys |= set(executor._client.keys)
    assert len(keys) == 2
    assert executor.waiting == ""
    monkeypatch.setattr(FakeClient, "nthreads", lambda self: {})
    assert "no workers" in executor.waiting
    assert "no workers; start some" in campaign_commands._sentence(
        {"done": 0, "failed": 0, "stalled": 0, "pending": 1, "per_hour": 0, "seconds_left": None,
         "waiting": executor.waiting}
    )  # fmt: skip
    monkeypatch.undo()
    monkeypatch.setattr(FakeClient, "threads", 4)
    with pytest.raises(SetupError, match=r"tcp://a has 4 threads.*--nthreads 1"):
        _ = executor.free


# ---- many fits ----------------------------------------------------------------------------


def test_kept_draws(workshop, inline, same_tables, monkeypatch):
    """Fewer samples in the files, the same numbers in the table; a certificate keeps its draws."""
    toy = workshop.emulator
    exact = lambda theta: 1.001 * toy.maggies(theta, check=False)[:, : len(BANDS)]  # noqa: E731
    monkeypatch.setattr(backends, "find_engine", lambda emulator, tables: ("toy", exact))
    whole = workshop.config("whole", fit="certificate = 200")
    run_campaign(whole, executor=inline)
    few = workshop.config(fit="certificate = 200\ndraws = 300")
    run_campaign(few, executor=inline)
    same_tables(read_results(few.output).table, read_results(whole.output).table)
    for key in inline.seen[:2]:
        a, b = (FitResult.read(Store(c.output).fit_path(key)) for c in (whole, few))
        assert b.samples.shape == (501, 17) and b.weights[0] == 0.0
        # In single precision.
        np.testing.assert_array_equal(b.best, a.best.astype("f4"))
        np.testing.assert_array_equal(
            b.vectors[b.certificate.index], a.vectors[a.certificate.index].astype("f4")
        )
        # A mean of 500 draws scatters by a 22nd of the posterior's width; six of these.
        mean = a.weights @ a.samples
        width = np.sqrt(a.weights @ (a.samples - mean) ** 2)
        assert np.all(np.abs(b.weights @ b.samples - mean) < 6 * width / 22)
        found = results_from(str(Store(few.output).fit_path(key)))[0]
        assert found["chain"].shape == (501, 17)
    # What is asked for later needs no fit, and files that are there stay.
    assert run_campaign(workshop.config("whole", fit="certificate = 200\ndraws = 50"),
                        executor=inline) == {"done": 2}  # fmt: skip
    assert len(inline.seen) == 4


def test_one_lock_file_for_all_fits(workshop, inline):
    """A worker waits for another at the same fit, and for no other."""
    config = workshop.config()
    run_campaign(config, executor=inline)
    assert sorted(p.name for p in (workshop.folder / "c" / "locks").iterdir()) == ["fits"]
    tasks = list(make_plan(config, Store(config.output)).tasks.values())
    held, free = threading.Event(), threading.Event()
    code = (
        "import sys\nfrom types import SimpleNamespace as N\n"
        "from prospect_emu.fits.fingerprints import Key\n"
        "from prospect_emu.fits.work import _claim\n"
        "with _claim(N(lock=sys.argv[1], key=Key('toy', sys.argv[2], 0))):\n"
        "    print('held', flush=True)\n    sys.stdin.read()\n"
    )
    other = workshop.python("-c", code, tasks[0].lock, tasks[0].key.galaxy, stdin=subprocess.PIPE)
    assert other.stdout.readline() == "held\n"

    def claim(task):
        held.set()
        with work._claim(task):
            free.set()

    with work._claim(tasks[1]):
        pass  # of another fit
    thread = threading.Thread(target=claim, args=(tasks[0],))
    thread.start()
    held.wait()
    assert not free.wait(0.5)
    other.stdin.close()
    thread.join(60)
    assert free.is_set() and other.wait(60) == 0


@pytest.mark.parametrize("torn", [False, True])
def test_kept_rows_are_what_the_files_say(workshop, inline, same_tables, torn):
    """The second reader opens no file, unless it changed or the stored copy is incomplete."""
    config = workshop.config(top="repeats = 2")
    run_campaign(config, executor=inline)
    store = Store(config.output)
    first = read_results(config.output)
    read = mock.Mock(wraps=rows.of_record)
    if torn:
        store.path("rows.npz").write_bytes(b"PK torn")
    with mock.patch.object(rows, "of_record", read):
        second = read_results(config.output)
        assert read.call_count == (4 if torn else 0)
        same_tables(second.table, first.table)
        np.testing.assert_array_equal(second.chi, first.chi)
        run_campaign(workshop.config(top="repeats = 2", fit="inflate = false"),
                     Options(refit=True), executor=inline)  # fmt: skip
        third = read_results(config.output)
    assert read.call_count == (8 if torn else 4)
    assert not np.any(third.table["chi2"] == first.table["chi2"])
