"""Checkpoints: a run that was killed and went on equals the one that was not."""

import itertools
import json
import os
import pickle
import signal
import subprocess
import sys
import time
import warnings
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from unittest.mock import patch

import dynesty
import numpy as np
import pytest
from matplotlib.figure import Figure

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.commands import cli, fit_output
from prospect_emu.errors import ModelFileError, OutputError
from prospect_emu.files import load_tensors, save_tensors
from prospect_emu.fit.fitting import fit_model
from prospect_emu.fit.result import FitResult
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.filters import load_filters
from prospect_emu.observe.table_files import write_table
from prospect_emu.observe.tables import make_obs, photometry_table
from prospect_emu.prospector.mathews23 import model_params
from prospect_emu.sampling import dynesty_state
from prospect_emu.sampling.checkpoint import Checkpoint, same_likelihood
from prospect_emu.sampling.nested import NestedSettings, run_nested

KIND = "prospect_emu checkpoint"
SETTINGS = {
    "nlive_init": 60, "walks": 5, "maxbatch": 2, "target_n_effective": 10**6, "max_error": 9.0,
}  # fmt: skip


class Killed(BaseException):
    """Stands for the end of the process."""


@contextmanager
def iterations_for_seconds():
    """Clocks that count iterations: fast and slow machines save and end at the same ones."""
    with ExitStack() as stack:
        for module in ("checkpoint", "nested", "run"):
            clock = SimpleNamespace(perf_counter=itertools.count().__next__)
            stack.enter_context(patch(f"prospect_emu.sampling.{module}.time", clock))
        yield


class Problem:
    """A Gaussian in the unit box whose likelihood ends the process after so many points."""

    def __init__(self, ndim=4, kill_at=np.inf, shift=0.0, stretch=1.0):
        self.ndim, self.kill_at, self.count, self.shift = ndim, kill_at, 0, shift
        self.stretch = stretch  # of the prior's width

    def logl(self, v):
        self.count += len(v)
        if self.count > self.kill_at:
            raise Killed
        return -0.5 * (((v - 0.5 - self.shift) / 0.07) ** 2).sum(axis=1)

    def run(self, path=None, every=1e-9, **changes):
        names = ("seed", "queue_size", "fast_internals", "max_seconds", "identity")
        own = {"seed": 3} | {k: changes.pop(k) for k in list(changes) if k in names}
        settings = NestedSettings(**SETTINGS | changes)
        with warnings.catch_warnings(), iterations_for_seconds():
            warnings.simplefilter("ignore")
            return run_nested(
                lambda u: self.stretch * u, self.logl, self.ndim, settings,
                checkpoint_file=path, checkpoint_every=every, **own,
            )  # fmt: skip


def assert_same(a, b):
    for name in ("samples", "logl", "logvol", "logwt", "logz", "logzerr", "ncall", "samples_id"):
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


# Points at which the run dies: in the unit cube, in ellipsoids, in the first batch (or repetition),
# in a later one.
@pytest.mark.parametrize("share", [0.03, 0.2, 0.55, 0.9])
@pytest.mark.parametrize(
    "options",
    [{}, {"fast_internals": False}, {"queue_size": 1}, {"max_error": 1e-3, "max_runs": 3}],
)
def test_a_killed_run_goes_on_bit_for_bit(tmp_path, share, options):
    """Every array of the results is identical to that of a run left alone."""
    if options == {"queue_size": 1} and share != 0.55:
        pytest.skip("once is enough for the slow queue")
    path, changes = tmp_path / "c", options
    alone = Problem()
    expected = alone.run(**changes)
    with pytest.raises(Killed):
        every = 1e-9 if share == 0.03 else 40
        Problem(kill_at=int(share * alone.count)).run(path, every=every, **changes)
    assert path.exists()
    resumed = Problem().run(path, every=10**6, **changes)
    assert_same(resumed, expected)
    assert resumed.diagnostics["n_resumed"] == 1
    assert resumed.diagnostics["n_evaluations"] == expected.diagnostics["n_evaluations"]
    assert resumed.diagnostics["seed"] == 3
    assert not path.exists()


def test_a_run_may_die_again_and_again(tmp_path):
    path = tmp_path / "c"
    alone = Problem()
    expected = alone.run()
    deaths = 0
    for share in (0.1, 0.2, 0.2, 0.2, 0.2, 0.2):
        try:
            resumed = Problem(kill_at=int(share * alone.count)).run(path, every=40)
            break
        except Killed:
            deaths += 1
    else:
        resumed = Problem().run(path, every=10**6)
    assert deaths >= 3 and resumed.diagnostics["n_resumed"] == deaths
    assert_same(resumed, expected)


@pytest.mark.parametrize("limit", [{"maxcall": 3000}, {"maxcall": 8000}, {"maxiter": 400}])
def test_budgets_count_what_was_done_before(tmp_path, limit):
    """A resumed run stops where the one left alone stops, and says the same."""
    path = tmp_path / "c"
    alone = Problem()
    expected = alone.run(**limit)
    with pytest.raises(Killed):
        Problem(kill_at=int(0.5 * alone.count)).run(path, every=40, **limit)
    resumed = Problem().run(path, every=10**6, **limit)
    assert resumed.status == expected.status
    assert resumed.status.startswith("budget: max")
    assert_same(resumed, expected)


def test_time_that_ran_out_can_be_given_again(tmp_path):
    """Ended by max_seconds the checkpoint stays; with more time the run is what it would be."""
    path = tmp_path / "c"
    ended = Problem().run(path, every=40, max_seconds=300)
    assert ended.status.startswith("budget: max_seconds") and path.exists()
    assert_same(Problem().run(path, every=10**6), Problem().run())


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"nlive_init": 101}, "settings.nlive_init"),
        ({"walks": 11}, "settings.walks"),
        ({"seed": 4}, "seed"),
        ({"queue_size": 5}, "queue_size"),
        ({"identity": {"photometry": "other"}}, "photometry"),
    ],
)
def test_another_fit_is_refused_by_name(tmp_path, changes, named):
    path = tmp_path / "c"
    with pytest.raises(Killed):
        Problem(kill_at=2500).run(path, every=40)
    with pytest.raises(ModelFileError, match=named):
        Problem().run(path, **changes)
    assert path.exists()


@pytest.mark.parametrize("other", [{"shift": 0.01}, {"stretch": 1.01}])
def test_another_likelihood_or_prior_is_refused(tmp_path, other):
    """A peak shifted by a seventh of its width, or a prior 1 % wider, is not rounding."""
    path = tmp_path / "c"
    with pytest.raises(Killed):
        Problem(kill_at=2500).run(path, every=40)
    with pytest.raises(ModelFileError, match="another likelihood"):
        Problem(**other).run(path)


def test_what_counts_as_rounding():
    """Small against 1 near the peak, relative far from it; infinities and NaN are exact."""
    stored = np.array([-1e300, -1e8, -2e4, -3.0, 0.0, 900.0])
    rounded = np.array([-np.inf, -1e8 * (1 + 5e-5), -2e4 - 1.0, -3.05, 0.03, 900.1])
    assert same_likelihood(stored, stored) and same_likelihood(rounded, stored)
    for i, value in enumerate([-1e8, -1.001e8, -2e4 - 5.0, -3.3, 0.3, 900.3]):
        assert not same_likelihood(np.where(np.arange(6) == i, value, stored), stored)
    assert not same_likelihood([np.nan, 0.0], [0.0, 0.0])
    assert not same_likelihood([-np.inf, 0.0], [-5.0, 0.0])


# ---- the file --------------------------------------------------------------------


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "c"
    with pytest.raises(Killed):
        Problem(kill_at=4000).run(path, every=40)
    return path


def test_a_damaged_file_is_refused(saved):
    data = saved.read_bytes()
    saved.write_bytes(data[:-100])
    with pytest.raises(ModelFileError):
        Problem().run(saved)
    saved.write_bytes(data[:-100] + bytes(100))
    with pytest.raises(ModelFileError, match="checksum"):
        Problem().run(saved)


def test_a_pickle_is_not_loaded(saved):
    class Bomb:
        def __reduce__(self):
            return (os._exit, (3,))

    saved.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ModelFileError):
        Problem().run(saved)


@pytest.mark.parametrize(
    "planted",
    [
        {"enum": "os.PathLike", "name": "x"},
        {"number": 9**9, "object": "subprocess.Popen", "attributes": {"number": 9**8, "dict": []}},
        {"number": 9**9, "object": "dynesty.utils.pickle_module.Pickler", "attributes": None},
        {"number": 9**9, "object": "dynesty.utils.restore_sampler", "attributes": None},
        {"method": "restore", "of": {"given": "sampler"}},
        {"method": "__reduce_ex__", "of": {"given": "pool"}},
        {"function": "np.load"},
        {"given": "no such thing"},
        {"tuple": [], "class": "builtins.tuple"},
        [1],
    ],
)
def test_only_dynestys_own_state_is_put_together(saved, planted):
    """A file that names other classes or functions is refused, whatever its checksum says."""
    tensors, manifest = load_tensors(saved, KIND)
    for pair in manifest["state"]["dict"]:
        if pair[0] == "bound" or pair[0] == "bound_list":
            pair[1] = planted
    save_tensors(saved, tensors, manifest)
    with pytest.raises(ModelFileError, match="no state of this sampler"):
        Problem().run(saved)


def test_an_incomplete_state_is_refused(saved):
    tensors, manifest = load_tensors(saved, KIND)
    manifest["state"]["dict"] = manifest["state"]["dict"][3:]
    save_tensors(saved, tensors, manifest)
    with pytest.raises(ModelFileError, match="no state of this sampler"):
        Problem().run(saved)


def test_a_later_schema_is_refused(saved):
    tensors, manifest = load_tensors(saved, KIND)
    save_tensors(saved, tensors, {**manifest, "schema": 99})
    with pytest.raises(ModelFileError, match="schema 99"):
        Problem().run(saved)


def test_the_folder_must_exist(tmp_path):
    with pytest.raises(OutputError, match="folder does not exist"):
        Problem().run(tmp_path / "nowhere" / "c")
    with pytest.raises(OutputError, match="checkpoint_every"):
        Checkpoint(tmp_path / "c", 0, {})


def test_state_of_every_kind_comes_back(tmp_path):
    """Round trip of what a sampler may hold, shared objects still shared."""
    sampler = dynesty.DynamicNestedSampler(lambda v: 0.0, lambda u: u, 2)
    rows = [np.arange(3.0) + i for i in range(20)]
    shared = np.arange(4)
    sampler.__dict__.update(
        odd=[1, "a", None, 2.5, (True, shared)], rows=rows, again=list(rows), shared=shared,
        numbers=[1.5, np.float64(2.5)] * 9, nones=[None] * 30, nan=float("nan"), none=None,
        records=[{"a": 1, "b": i} for i in range(10)] + [None] * 3,
        objects=np.array([None, {"x": 1}], dtype=object),
        rng=np.random.default_rng(7),
    )  # fmt: skip
    expected = np.random.default_rng(7).random(3)
    tensors, tree = dynesty_state.take_apart(sampler, {"f": sampler.loglikelihood,
                                                       "p": sampler.prior_transform})  # fmt: skip
    sampler.prior_transform, rebuilt = None, dynesty.DynamicNestedSampler(
        lambda v: 0.0, lambda u: u, 2
    )  # fmt: skip
    given = {"f": rebuilt.loglikelihood, "p": rebuilt.prior_transform}
    dynesty_state.put_together(rebuilt, given, tensors, json.loads(json.dumps(tree)))
    assert rebuilt.odd[:4] == [1, "a", None, 2.5] and rebuilt.odd[4][0] is True
    assert rebuilt.odd[4][1] is rebuilt.shared
    np.testing.assert_array_equal(rebuilt.rows, rows)
    np.testing.assert_array_equal(rebuilt.again, rows)
    assert len({v["rows"] for v in _lists(tree) if "rows" in v}) == 1
    assert rebuilt.numbers == [1.5, 2.5] * 9 and rebuilt.nones == [None] * 30
    assert np.isnan(rebuilt.nan) and rebuilt.none is None
    assert rebuilt.records == [{"a": 1, "b": i} for i in range(10)] + [None] * 3
    assert rebuilt.objects.dtype == object and rebuilt.objects[1] == {"x": 1}
    np.testing.assert_array_equal(rebuilt.rng.random(3), expected)
    assert rebuilt.loglikelihood is given["f"]


def _lists(tree):
    return [v[1]["list"] for v in tree["dict"] if isinstance(v[1], dict)
            and isinstance(v[1].get("list"), dict)]  # fmt: skip


def test_an_unknown_kind_is_an_error_when_saved():
    sampler = dynesty.DynamicNestedSampler(lambda v: 0.0, lambda u: u, 2)
    with pytest.raises(TypeError):
        dynesty_state.take_apart(sampler, {})  # the likelihood is not given


# ---- real processes -----------------------------------------------------------------


def killed(code, path, **environment):
    """Runs Python code and kills it with signal 9 once it has saved twice."""
    # Elsewhere than in the checkout, whose prospect_emu lacks fits: -c would find it first.
    command = [sys.executable, "-c", code]
    process = subprocess.Popen(
        command, cwd=path.anchor, stderr=subprocess.PIPE, env=os.environ | environment
    )  # fmt: skip
    first = None
    while process.poll() is None:
        if path.exists():
            first = first or path.stat().st_mtime_ns
            if path.stat().st_mtime_ns != first:
                process.send_signal(signal.SIGKILL)
                break
        time.sleep(0.002)
    process.wait()
    assert process.returncode == -signal.SIGKILL, process.stderr.read().decode()


@pytest.fixture
def table(toy_emulator, prior_draws, tmp_path):
    theta = prior_draws(1)[0]
    theta[PARAMETERS.index("zred")] = 1.0
    flux = toy_emulator.maggies(theta)
    obs = make_obs(toy_emulator.filters, flux, 0.05 * flux, 1.0)
    write_table(photometry_table(obs), tmp_path / "galaxy.ecsv")
    toy_emulator.save(tmp_path / "toy.safetensors")
    return tmp_path / "galaxy.ecsv"


def test_kill_9_and_resume_on_the_command_line(table, tmp_path, monkeypatch, capsys):
    """A fit killed with signal 9 and resumed has the posterior of one left alone, bit for bit."""
    monkeypatch.delenv("SPS_HOME", raising=False)
    monkeypatch.setattr("prospect_emu.fit.plots.corner_figure", lambda result: Figure())

    def arguments(out):
        return ["fit", str(table), "--emulator", str(tmp_path / "toy.safetensors"), "--nlive",
                "300", "--walks", "10", "--seed", "5", "--n-eff", "1", "--max-error", "9",
                "--quiet", "--out", str(out)]  # fmt: skip

    path = tmp_path / "killed" / fit_output.CHECKPOINT
    killed(
        "from prospect_emu.commands import cli, fit_output; fit_output.CHECKPOINT_EVERY = 0.01; "
        f"cli.main({arguments(tmp_path / 'killed')!r})",
        path,
    )
    assert os.listdir(tmp_path / "killed").count(fit_output.CHECKPOINT) == 1
    assert not (tmp_path / "killed" / "posterior.h5").exists()
    # Neither overwritten nor resumed unasked, nor resumed as another fit.
    assert cli.main(arguments(tmp_path / "killed")) == 2
    assert "--resume" in capsys.readouterr().err
    assert cli.main([*arguments(tmp_path / "killed"), "--resume", "--walks", "11"]) == 2
    assert "settings.walks" in capsys.readouterr().err
    assert cli.main([*arguments(tmp_path / "killed"), "--resume"]) == 0
    assert not path.exists()
    # With nothing to resume, --resume starts.
    assert cli.main([*arguments(tmp_path / "alone"), "--resume"]) == 0
    one, other = (FitResult.read(tmp_path / n / "posterior.h5") for n in ("killed", "alone"))
    assert one.info["diagnostics"]["n_resumed"] == 1
    assert other.info["diagnostics"]["n_resumed"] == 0
    np.testing.assert_array_equal(one.samples, other.samples)
    np.testing.assert_array_equal(one.weights, other.weights)
    assert (one.logz, one.logz_err) == (other.logz, other.logz_err)


def kernels(**environment):
    """Kernels of the OpenBLAS libraries in a process with these environment variables."""
    code = (
        "import numpy, json; from threadpoolctl import threadpool_info; "
        "print(json.dumps(sorted({i.get('architecture', '') for i in threadpool_info() "
        "if i['internal_api'] == 'openblas'})))"
    )
    command = [sys.executable, "-c", code]
    process = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True)
    return json.loads(process.stdout) if process.returncode == 0 else []


@pytest.mark.parametrize("kernel", ["Prescott", "Haswell"])
def test_a_fit_with_a_network_goes_on_on_another_processor(table, tmp_path, kernel, monkeypatch):
    """Killed where OpenBLAS ran other kernels, which sum products in another order.

    Live points then have likelihoods that differ by rounding. The fit goes on, and its
    evidence is that of a fit left alone to within five standard errors.
    """
    own, other = kernels(), kernels(OPENBLAS_CORETYPE=kernel)
    if not other or own == other:
        pytest.skip(f"OpenBLAS does not run other kernels here for OPENBLAS_CORETYPE={kernel}")
    monkeypatch.setattr("prospect_emu.fit.plots.corner_figure", lambda result: Figure())

    def arguments(out):
        return ["fit", str(table), "--emulator", str(tmp_path / "toy.safetensors"), "--nlive",
                "300", "--walks", "10", "--seed", "5", "--n-eff", "1", "--max-error", "9",
                "--quiet", "--out", str(out)]  # fmt: skip

    killed(
        "from prospect_emu.commands import cli, fit_output; fit_output.CHECKPOINT_EVERY = 0.01; "
        f"cli.main({arguments(tmp_path / 'killed')!r})",
        tmp_path / "killed" / fit_output.CHECKPOINT,
        OPENBLAS_CORETYPE=kernel,
    )
    assert cli.main([*arguments(tmp_path / "killed"), "--resume"]) == 0
    assert cli.main(arguments(tmp_path / "alone")) == 0
    one, two = (FitResult.read(tmp_path / n / "posterior.h5") for n in ("killed", "alone"))
    assert one.info["diagnostics"]["n_resumed"] == 1
    assert abs(one.logz - two.logz) < 5 * np.hypot(one.logz_err, two.logz_err)


def test_fit_model_tells_other_data_and_models_apart(toy_emulator, tmp_path):
    filters = load_filters(toy_emulator.filters)
    sps = EmulatorSPS(toy_emulator, filters)

    def problem(factor=1.0, mini=0.0):
        params = model_params(zred=1.0)
        params["dust2"]["prior"].update(mini=mini)
        model = EmulatorSpecModel(params)
        flux = toy_emulator.maggies(sps.theta_from_params(model.params)) * factor
        obs = {"filters": filters, "maggies": flux, "maggies_unc": 0.1 * flux,
               "wavelength": None, "spectrum": None}  # fmt: skip
        return sps.inflate(obs), model, sps

    options = {"seed": 1, "verbose": False, "nested_nlive_init": 60, "nested_walks": 5,
               "nested_maxbatch": 0, "nested_max_error": 9.0, "checkpoint_file": tmp_path / "c",
               "checkpoint_every": 0.01}  # fmt: skip
    with pytest.warns(RuntimeWarning, match="max_seconds"), iterations_for_seconds():
        fit_model(*problem(), max_seconds=300, **options)
    with pytest.raises(ModelFileError, match="photometry differ"):
        fit_model(*problem(factor=1.01), **options)
    with pytest.raises(ModelFileError, match=r"model\.dust2 differ"):
        fit_model(*problem(mini=0.01), **options)
    results, _ = fit_model(*problem(), **options)["sampling"]
    assert results.status == "converged" and results.diagnostics["n_resumed"] == 1
