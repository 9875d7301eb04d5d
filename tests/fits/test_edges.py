"""What goes wrong at the edges of a campaign: odd names, blanks, changed files, lost workers."""

import re
import shutil
import types
from urllib.parse import unquote

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from prospect_emu.commands.cli import main
from prospect_emu.errors import DataError, OutputError, SetupError
from prospect_emu.fits import catalogs
from prospect_emu.fits.campaign import Options, campaign_status, make_plan, run_campaign
from prospect_emu.fits.campaign_report import write_summary
from prospect_emu.fits.config import ExecutorConfig, SelectConfig, parse_config, read_config
from prospect_emu.fits.executors import DaskExecutor, WorkerLost
from prospect_emu.fits.identity import Key, file_name
from prospect_emu.fits.results import read_results, write_results
from prospect_emu.fits.store import Store


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

    other = workshop.config(fit="max_calls = 100000")
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
    with pytest.raises(SetupError, match=r"catalog.error_floor = 5 is no fraction"):
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


def test_workers_that_never_answer(workshop, inline):
    """Three times as many as there are workers, and not one fit: not the galaxies' fault."""
    workshop.catalog(6)
    dead = type(inline)(lambda task: WorkerLost("killed"))
    with pytest.raises(SetupError, match=r"4 workers died, and none ever finished \(killed\)"):
        run_campaign(workshop.config(), executor=dead)


def test_a_result_that_the_campaign_cannot_see(workshop, inline, tmp_path):
    def elsewhere(task):
        outcome = inline.function(task)
        shutil.move(task.path, tmp_path / "elsewhere.h5")
        return outcome

    with pytest.raises(OutputError, match=r"toy/100_r0.*must share the campaign's folder"):
        run_campaign(workshop.config(), executor=type(inline)(elsewhere))


def test_prospector_has_no_time_budget(workshop, monkeypatch):
    backend = types.SimpleNamespace(bands=None, zred_range=(0.0, 9.0), keeps_time=False)
    monkeypatch.setattr("prospect_emu.fits.campaign.load_backend", lambda spec: backend)
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
    monkeypatch.setattr(FakeClient, "threads", 4)
    with pytest.raises(SetupError, match=r"tcp://a has 4 threads.*--nthreads 1"):
        _ = executor.free
