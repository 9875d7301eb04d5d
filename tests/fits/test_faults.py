"""Faults: nothing lost, nothing fitted twice, and the same table as without any.

Real processes are killed with signal 9 in the middle of their work.
"""

import os
import resource
import signal
import threading
from collections import Counter
from pathlib import Path

import pytest

from prospect_emu.errors import OutputError
from prospect_emu.fits.campaign import campaign_status, run_campaign
from prospect_emu.fits.config import read_config
from prospect_emu.fits.fingerprints import Key
from prospect_emu.fits.results import read_results
from prospect_emu.fits.store import Store

N = 3
FILE_LIMIT = 60_000  # bytes; a result of these fits takes 150,000 and more


def children(pid):
    """Processes that `pid` started and that run Python."""
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        found += [int(c) for c in task.read_text().split()]
    return [c for c in found if b"spawn_main" in Path(f"/proc/{c}/cmdline").read_bytes()]


def finished(workshop):
    path = workshop.folder / "c" / "log.jsonl"
    if not path.exists():
        return []
    return [x["fit"] for x in workshop.log() if x["state"] == "finished"]


def check(workshop, undisturbed, same_tables):
    """All is done, no fit was finished twice, and the table is the undisturbed one."""
    assert campaign_status(workshop.folder / "c")["states"] == {"done": N}
    assert max(Counter(finished(workshop)).values()) == 1
    same_tables(read_results(workshop.folder / "c").table, undisturbed(workshop, N))


@pytest.fixture
def config(workshop):
    workshop.catalog(N)
    return workshop.toml()


def test_kill_a_worker(workshop, config, wait_until, undisturbed, same_tables):
    """After the first fit its worker is killed, in the middle of the second."""

    def kill():
        wait_until(lambda: finished(workshop))
        os.kill(wait_until(lambda: children(os.getpid()))[0], signal.SIGKILL)

    thread = threading.Thread(target=kill)
    thread.start()
    assert run_campaign(read_config(config)) == {"done": N}
    thread.join()
    failed = [x for x in workshop.log() if x["state"] == "failed"]
    assert len(failed) == 1 and "killed" in failed[0]["error"]
    check(workshop, undisturbed, same_tables)


def test_kill_the_campaign_twice(workshop, config, inline, wait_until, undisturbed, same_tables):
    files = {}
    for n in (1, 2):
        process = workshop.bare(config)
        wait_until(lambda n=n: len(finished(workshop)) >= n)
        workers = children(process.pid)
        process.kill()
        process.communicate(timeout=30)
        # The workers leave too: nobody would collect what they do.
        wait_until(lambda workers=workers: not any(map(_alive, workers)))
        for path in (workshop.folder / "c" / "fits").glob("*/*.h5"):
            stamp = path.stat().st_mtime_ns
            assert files.setdefault(path, stamp) == stamp  # no result was made again
    status = campaign_status(workshop.folder / "c")
    assert status["holder"] is None and status["states"]["pending"] >= 1
    told = []
    assert run_campaign(read_config(config), report=told.append, executor=inline) == {"done": N}
    assert f"process {process.pid} on" in told[0]["interrupted"]
    assert all(path.stat().st_mtime_ns == stamp for path, stamp in files.items())
    check(workshop, undisturbed, same_tables)
    assert not list((workshop.folder / "c" / "fits").glob("*/.*"))


def _alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def test_disk_full(workshop, config, inline, undisturbed, same_tables):
    """The kernel's limit on the size of a file stands for a full disk: the write itself fails."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FILE_LIMIT, hard))
    try:
        with pytest.raises(OutputError, match=r"stops at toy/100_r0: Writing .* free space"):
            run_campaign(read_config(config), executor=inline)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    folder = workshop.folder / "c"
    assert not list(folder.glob("fits/*/*.h5")) and not list(folder.glob("fits/*/.*"))
    assert campaign_status(folder)["states"] == {"pending": N}
    run_campaign(read_config(config), executor=type(inline)())
    check(workshop, undisturbed, same_tables)


@pytest.mark.parametrize("damage", ["flipped byte", "truncated", "foreign", "empty"])
def test_corrupt_result_file(workshop, config, inline, damage, undisturbed, same_tables):
    read = workshop.config()
    run_campaign(read, executor=inline)
    path = Store(read.output).fit_path(Key("toy", "101", 0))
    data = bytearray(path.read_bytes())
    at = data.find(b"\x00" * 8, len(data) // 2)
    if damage == "flipped byte":
        from prospect_emu.fit.result import FitResult

        at = bytes(data).find(FitResult.read(path).samples[7].tobytes())
        data[at + 3] ^= 4  # a digit of one sample
    bad = {"flipped byte": data, "truncated": data[:at], "foreign": b"text", "empty": b""}[damage]
    path.write_bytes(bad)
    assert campaign_status(read.output)["states"] == {"done": N - 1, "damaged": 1}
    again = type(inline)()
    assert run_campaign(read, executor=again) == {"done": N}
    assert [k.galaxy for k in again.seen] == ["101"]
    aside = list((Path(read.output) / "damaged").glob("toy/*.h5"))
    assert len(aside) == 1 and aside[0].read_bytes() == bad
    same_tables(read_results(read.output).table, undisturbed(workshop, N))


def test_damage_that_leaves_size_and_time(workshop, config, inline):
    """Only a full check sees it; --verify is one."""
    read = workshop.config()
    run_campaign(read, executor=inline)
    path = Store(read.output).fit_path(Key("toy", "102", 0))
    stat, data = path.stat(), bytearray(path.read_bytes())
    from prospect_emu.fit.result import FitResult

    data[bytes(data).find(FitResult.read(path).samples[7].tobytes())] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert campaign_status(read.output)["states"] == {"done": N}
    assert campaign_status(read.output, verify=True)["states"]["damaged"] == 1


def test_two_campaigns_in_one_folder(workshop, config, inline):
    store = Store(workshop.folder / "c")
    store.create()
    with store.lock():
        who = rf"is running in {store.folder} \(process {os.getpid()} on"
        with pytest.raises(OutputError, match=who):
            run_campaign(read_config(config), executor=inline)
        assert store.holder().startswith("process")
    assert store.holder() is None
    assert not (store.folder / "plan.json").exists()


def test_a_part_and_the_whole_refuse_each_other(workshop):
    """Parts of a job array run side by side; the same part twice, or the whole, does not."""
    store = Store(workshop.folder / "c")
    store.create()
    with store.lock(shared=True), store.lock(shared=True):
        with pytest.raises(OutputError, match="is running"), store.lock():
            pass
        with store.lock(name="locks/x"):
            with pytest.raises(OutputError, match="is running"), store.lock(name="locks/x"):
                pass


def test_a_stale_index_is_no_truth(workshop, config, inline):
    """Files removed, or written behind the index's back, are seen."""
    read = workshop.config()
    run_campaign(read, executor=inline)
    store = Store(read.output)
    store.fit_path(Key("toy", "100", 0)).unlink()
    assert campaign_status(read.output)["states"] == {"done": N - 1, "pending": 1}
    store.path("index.json").write_text("{ broken")
    again = type(inline)()
    assert run_campaign(read, executor=again) == {"done": N} and len(again.seen) == 1
