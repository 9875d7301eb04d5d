"""The same fits wherever they run: local processes, Dask in three ways, a Slurm job array."""

import os
import subprocess
import sys
import threading
import time

import pytest

from prospect_emu.commands.cli import main
from prospect_emu.errors import SetupError
from prospect_emu.fits.campaign import campaign_status, run_campaign
from prospect_emu.fits.executors import DaskExecutor, LocalExecutor, WorkerLost, make_executor
from prospect_emu.fits.results import read_results
from prospect_emu.fits.sections import ExecutorConfig
from prospect_emu.fits.slurm import parse_chunk

N = 3


# Workers import no test: what they do here is a built-in function of a text.
SQUARE = "({0} ** 2, __import__('os').environ['OMP_NUM_THREADS'], __import__('os').getpid())"
DIE = "__import__('os').kill(__import__('os').getpid(), 9)"


def drain(executor, jobs):
    jobs, out = list(jobs), {}
    while jobs or executor.running:
        while jobs and executor.free > 0:
            executor.submit(jobs.pop(0))
        for task, outcome in executor.collect(timeout=1.0):
            out[task] = outcome
    return out


# ---- local -------------------------------------------------------------------------------------


def test_local_processes():
    executor = LocalExecutor(eval, workers=2)
    texts = [SQUARE.format(i) for i in range(6)]
    try:
        out = drain(executor, texts)
    finally:
        executor.close()
    assert [out[t][0] for t in texts] == [i**2 for i in range(6)]
    assert {v[1] for v in out.values()} == {"1"}  # one thread in each library
    pids = {v[2] for v in out.values()}
    assert len(pids) == 2 and os.getpid() not in pids


def test_a_killed_worker_is_named_and_replaced():
    executor = LocalExecutor(eval, workers=1)
    try:
        out = drain(executor, ["1 + 1", DIE, "2 + 2"])
        for pool in executor._idle:  # killed while it has nothing to do
            for process in pool._processes.values():
                process.kill()
            while not pool._broken:  # until the pool knows, the loss is a fit's
                time.sleep(0.01)
        out |= drain(executor, ["3 + 3"])
    finally:
        executor.close()
    assert isinstance(out[DIE], WorkerLost) and "killed" in out[DIE].detail
    assert (out["1 + 1"], out["2 + 2"], out["3 + 3"]) == (2, 4, 6)


def test_closing_ends_the_workers():
    executor = LocalExecutor(time.sleep, workers=1)
    executor.submit(600)
    time.sleep(0.5)
    processes = [p for _, pool in executor._busy.values() for p in pool._processes.values()]
    executor.close()
    assert processes and not any(p.is_alive() for p in processes)


# ---- Dask ----------------------------------------------------------------------------------------


@pytest.fixture
def dask():
    return pytest.importorskip("distributed", reason="dask.distributed is not installed")


class Cluster:
    """A scheduler and workers, each a process of its own, over TCP on loopback."""

    def __init__(self, folder):
        self.folder, self.processes, self.address = folder, [], ""

    def start(self, workers=2, port=0):
        file = self.folder / f"scheduler-{time.time_ns()}.json"
        env = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
        # Elsewhere than in the checkout, whose prospect_emu lacks fits: -m would find it first.
        options = {"env": env, "cwd": self.folder}
        options |= {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        python = [sys.executable, "-m"]
        scheduler = [*python, "distributed.cli.dask_scheduler", "--host", "127.0.0.1"]
        scheduler += ["--port", str(port), "--scheduler-file", str(file), "--no-dashboard"]
        self.processes = [subprocess.Popen(scheduler, **options)]
        while not file.exists():
            assert self.processes[0].poll() is None
            time.sleep(0.05)
        time.sleep(0.2)
        import json

        self.address = json.loads(file.read_text())["address"]
        worker = [*python, "distributed.cli.dask_worker", self.address, "--nthreads", "1"]
        worker += ["--no-nanny", "--no-dashboard", "--local-directory", str(self.folder)]
        self.processes += [subprocess.Popen(worker, **options) for _ in range(workers)]

    def kill(self, which=slice(None)):
        for process in self.processes[which]:
            process.kill()
            process.wait()


@pytest.fixture
def cluster(dask, tmp_path):
    made = Cluster(tmp_path)
    yield made
    made.kill()


def test_dask_local_cluster(workshop, dask, undisturbed, same_tables):
    workshop.catalog(N)
    config = workshop.config(executor='kind = "dask"\nworkers = 2')
    assert run_campaign(config) == {"done": N}
    same_tables(read_results(config.output).table, undisturbed(workshop, N))


def test_dask_over_tcp_and_a_killed_scheduler(
    workshop, cluster, wait_until, undisturbed, same_tables
):
    """Two workers; the scheduler dies in the middle; another one takes over."""
    workshop.catalog(N)
    fits = workshop.folder / "c" / "fits"
    cluster.start()

    def kill():
        wait_until(lambda: list(fits.glob("*/*.h5")))
        cluster.kill(slice(0, 1))

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        run_campaign(workshop.config(executor=f'kind = "dask"\naddress = "{cluster.address}"'))
    except SetupError as err:  # with luck all fits had been made
        assert "The Dask scheduler is gone" in str(err)
    thread.join()
    before = {p: p.stat().st_mtime_ns for p in fits.glob("*/*.h5")}
    cluster.kill()
    cluster.start(workers=1)
    config = workshop.config(executor=f'kind = "dask"\naddress = "{cluster.address}"')
    assert run_campaign(config) == {"done": N}
    assert before and all(p.stat().st_mtime_ns == stamp for p, stamp in before.items())
    same_tables(read_results(config.output).table, undisturbed(workshop, N))


def test_no_scheduler_at_the_address(dask, monkeypatch):
    config = ExecutorConfig(kind="dask", address="tcp://127.0.0.1:1")
    monkeypatch.setattr("prospect_emu.fits.executors.PATIENCE", "1s")
    with pytest.raises(SetupError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:1"):
        make_executor(eval, config)


def test_options_that_a_cluster_does_not_take(dask):
    with pytest.raises(SetupError, match=r"LocalCluster does not start .*; see executor.options"):
        make_executor(print, ExecutorConfig(kind="dask", options={"threads": 2}))


def test_dask_jobqueue(dask):
    """The job script of a Slurm cluster, as dask-jobqueue would submit it."""
    pytest.importorskip("dask_jobqueue", reason="dask-jobqueue is not installed")
    options = {"queue": "short", "walltime": "01:00:00"}
    config = ExecutorConfig(
        kind="dask", jobqueue="SLURMCluster", workers=0, options=options, setup=("module load x",)
    )
    executor = DaskExecutor(eval, config)
    try:
        script = executor._cluster.job_script()
    finally:
        executor.close()
    for line in ("#SBATCH -p short", "#SBATCH -t 01:00:00", "OMP_NUM_THREADS=1", "module load x"):
        assert line in script
    with pytest.raises(SetupError, match="dask-jobqueue has no 'SlurmCluster'"):
        DaskExecutor(eval, ExecutorConfig(kind="dask", jobqueue="SlurmCluster"))


# ---- Slurm ------------------------------------------------------------------------------

SBATCH = """#!/bin/bash
# Stands for Slurm: runs every task of the array here, one after the other.
array=$(sed -n 's/^#SBATCH --array=//p' "$1")
for ((i = ${array%-*}; i <= ${array#*-}; i++)); do SLURM_ARRAY_TASK_ID=$i bash "$1" || exit 1; done
echo "Submitted batch job 1"
"""


def test_slurm_job_array(workshop, undisturbed, same_tables, monkeypatch, capsys):
    workshop.catalog(N)
    lines = 'kind = "slurm"\nchunks = 2\nsbatch = ["--time=01:00:00"]\nsetup = ["export X=1"]'
    config = workshop.toml(executor=lines)
    fake = workshop.folder / "bin" / "sbatch"
    fake.parent.mkdir()
    fake.write_text(SBATCH)
    fake.chmod(0o755)
    monkeypatch.setenv("PATH", f"{fake.parent}{os.pathsep}{os.environ['PATH']}")
    assert main(["campaign", str(config), "--submit"]) == 0
    out = capsys.readouterr().out
    assert f"{N} fits in 2 parts" in out and "Submitted batch job 1" in out
    script = workshop.folder / "c" / "slurm" / "campaign.sbatch"
    assert subprocess.run(["bash", "-n", script]).returncode == 0
    text = script.read_text()
    assert "#SBATCH --array=0-1\n" in text and "#SBATCH --time=01:00:00\n" in text
    assert campaign_status(workshop.folder / "c")["states"] == {"done": N}
    logs = sorted((workshop.folder / "c").glob("log-*-of-2.jsonl"))
    assert [len(p.read_text().splitlines()) for p in logs] == [2, 1]
    same_tables(read_results(workshop.folder / "c").table, undisturbed(workshop, N))


def test_chunks():
    assert parse_chunk("3/10") == (3, 10)
    for bad in ("10/10", "-1/3", "x", "1/0"):
        with pytest.raises(ValueError):
            parse_chunk(bad)
