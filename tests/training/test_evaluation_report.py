"""`prospect-emu evaluate`: its numbers against NumPy and closed forms, and its page."""

import dataclasses
import functools
import json
import re

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import norm

from prospect_emu.commands import cli
from prospect_emu.errors import FilterError, ProspectEmuError
from prospect_emu.networks.loading import load_emulator
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.magnitudes import A, maggies_to_arsinh
from prospect_emu.training import evaluate, evaluation_report, timing
from prospect_emu.training.evaluate import Residuals
from prospect_emu.training.generate import SampleStore
from prospect_emu.training.recipe import Recipe

SIGMA = np.array([0.01, 0.03, 0.02, 0.1])


@pytest.fixture(scope="module")
def gaussian():
    """200,000 Gaussian residuals in each of four bands, of known standard deviations."""
    return np.random.default_rng(1).normal(0.0, SIGMA, (200_000, 4))


# ---- numbers of residuals -------------------------------------------------------------------


def test_gaussian_residuals_reach_their_sigma(gaussian):
    # 800,000 values: the quantile at 4 sigma, beyond which 51 are expected, scatters by
    # 0.03; the tolerance is five times that. Those at 1 and 2 sigma are good to 0.002.
    r = Residuals(gaussian)
    np.testing.assert_allclose(r.reach[:2], [1, 2], atol=0.01)
    np.testing.assert_allclose(r.reach, [1, 2, 3, 4], atol=0.15)
    # Binomial error of 800,000: at most 0.0006.
    assert (r.scaled > 0.5).mean() == pytest.approx(2 * norm.sf(0.5), abs=0.003)


def test_share_within(gaussian):
    bright = np.zeros(gaussian.shape, dtype=bool)
    bright[:, 3] = True
    # Closed form: the fourth band alone is bright, 0.05 is half its sigma. Binomial error 0.001.
    expected = 1 - 2 * norm.sf(0.5)
    assert Residuals(gaussian, bright).within(0.05) == pytest.approx(expected, abs=0.005)
    assert np.isnan(Residuals(gaussian, np.zeros_like(bright)).within(0.05))


def test_bright_is_ab_30(toy_emulator, prior_draws):
    maggies = np.full((2, len(toy_emulator.filters)), 10 ** (-0.4 * 29.9))
    maggies[1] = 10 ** (-0.4 * 30.1)
    r = Residuals.of(toy_emulator, prior_draws(2), maggies)
    assert r.bright[0].all() and not r.bright[1].any()


def test_error_needed(gaussian):
    everything = np.ones(gaussian.shape, dtype=bool)
    std, tail = Residuals(gaussian).needed
    # Closed forms: three times the largest sigma, and where the mixture of the four
    # Gaussians leaves 1 %, found by bisection; A turns magnitudes to relative errors.
    # Sigma is good to 0.2 % and the quantile to about 0.5 %.
    assert std == pytest.approx(3 * 0.1 / A, rel=0.01)
    low, high = 0.0, 1.0
    for _ in range(60):
        mid = 0.5 * (low + high)
        low, high = (mid, high) if (2 * norm.sf(mid / SIGMA)).mean() > 0.01 else (low, mid)
    assert tail == pytest.approx(low / A, rel=0.02)
    # Faint residuals do not count for the second condition, only for the first.
    faint = everything.copy()
    faint[:, 3] = False
    other = Residuals(gaussian, faint).needed
    assert other[0] == std and other[1] < tail
    assert Residuals(gaussian, ~everything).needed[1] == 0.0


def test_heavy_tails_set_what_is_needed():
    """2 % of errors of 1 mag: the standard deviation forgives them, the large errors do not."""
    r = np.zeros((10_000, 1))
    r[:200, 0] = np.tile([1.0, -1.0], 100)
    std, tail = Residuals(r).needed
    assert tail == pytest.approx(1.0 / A, rel=1e-12) and tail > std
    assert std == pytest.approx(3 * np.sqrt(0.02) / A, rel=1e-3)  # n - 1 for n


def test_independent_bands(gaussian):
    # 200,000 samples: correlations of 0.002, whose squares do not show.
    assert Residuals(gaussian).independent_bands == pytest.approx(4, abs=0.01)
    same = gaussian[:, :1] * np.array([1.0, 2.0, -3.0])
    assert Residuals(same).independent_bands == pytest.approx(1, rel=1e-9)
    # A band without errors is correlated with none.
    assert np.array_equal(Residuals(np.zeros((5, 2))).correlation, np.eye(2))


def test_binned_std_is_that_of_each_bin(gaussian):
    r = gaussian[:5000]
    x = np.random.default_rng(2).uniform(0.0, 1.0, len(r))
    x[0] = 1.0  # the last bin includes its end
    edges = [0.0, 0.003, 0.5, 1.0]
    count, std = Residuals(r).binned(x, edges)
    assert count.sum() == len(r)
    assert count[0] < evaluate.LEAST and np.isnan(std[0]).all()
    np.testing.assert_allclose(std[1], r[(x >= 0.003) & (x < 0.5)].std(axis=0, ddof=1))
    np.testing.assert_allclose(std[2], r[x >= 0.5].std(axis=0, ddof=1))


def test_errors_by_history(gaussian, prior_draws):
    theta = prior_draws(5000)
    columns = [i for i, name in enumerate(PARAMETERS) if name.startswith("logsfr_ratios")]
    largest = np.array([max(abs(row[i]) for i in columns) for row in theta])
    # Errors that grow with the history: the bins must be these.
    r = gaussian[:5000] * largest[:, None]
    count, std = Residuals(r).by_history(theta)
    for i, (a, b) in enumerate(((0, 1), (1, 2), (2, 3), (3, 5.1))):
        part = r[(largest >= a) & (largest < b)]
        assert count[i] == len(part) > evaluate.LEAST
        np.testing.assert_allclose(std[i], part.std(axis=0, ddof=1))


def test_power_law():
    power_law = evaluation_report.power_law
    widths = np.array([32, 64, 128, 256])
    slope, level, error = power_law(widths, 3.0 / widths)
    assert slope == pytest.approx(-1, rel=1e-12)
    assert np.exp(level) == pytest.approx(0.03, rel=1e-12) and error < 1e-10
    noisy = 3.0 / widths * np.array([1.1, 0.9, 1.05, 1.0])
    expected, covariance = np.polyfit(np.log(widths), np.log(noisy), 1, cov=True)
    slope, _, error = power_law(widths, noisy)
    assert slope == pytest.approx(expected[0])
    assert error == pytest.approx(np.sqrt(covariance[0, 0]))
    assert np.isnan(power_law([1, 2], [1.0, 0.5])[2])
    assert power_law([64, 64], [0.1, 0.2]) is None
    assert power_law([64, 128], [0.1, 0.0]) is None


# ---- the answer -----------------------------------------------------------------------------


def numbers(*rows):
    return {
        label: {"width": width, "good_enough_from": error} for label, width, error in rows
    }  # fmt: skip


FAMILY = numbers(("a", 64, 0.12), ("b", 128, 0.06), ("c", 256, 0.03), ("f", None, 1e-4))


def test_answer_names_the_smallest_width():
    text = evaluation_report.answer(FAMILY, 0.05)
    assert "errors of 5 % the smallest width that is good enough is 256 (c" in text
    assert text.endswith("; f, without a width, is good enough.")
    assert "is 128 (b, good enough from 6 %)" in evaluation_report.answer(FAMILY, 0.06)


def test_answer_when_no_width_will_do():
    """needed = 7.68 / width by construction: 1 % would take a width of 768."""
    text = evaluation_report.answer(FAMILY, 0.01)
    assert "none of the networks is good enough: the best, c of width 256, is from 3 %" in text
    assert "extrapolated, would be at a width of about 770" in text
    assert "no width near these" in evaluation_report.answer(FAMILY, 1e-3)
    two = evaluation_report.answer({k: FAMILY[k] for k in "ab"}, 0.01)  # no scatter, no trust
    assert "none" in two and "power law" not in two
    one = evaluation_report.answer(numbers(("a", 64, 0.12)), 0.05)
    assert "none" in one and "extrapolated" not in one
    assert "no network" in evaluation_report.answer(numbers(("f", None, 1e-4)), 0.05)


# ---- time -----------------------------------------------------------------------------------


def test_measure_takes_the_fastest_call(monkeypatch):
    """On a clock that only the calls move: 5, 4, 3, 3, ... ms for 10 vectors are 0.3 ms each."""
    clock, slow_calls = [0.0], []
    monkeypatch.setattr(timing.time, "process_time", lambda: clock[0])
    steps = iter([0.005, 0.004])

    def call():
        clock[0] += next(steps, 0.003)

    def slow():
        slow_calls.append(1)
        clock[0] += 1.5

    cases = [timing.Case("a", 10, False, call, 10), timing.Case("slow", 1, True, slow, 1)]
    found = timing.measure(cases, rounds=20, turn=0.01, enough=2.0)
    assert found["a", 10, False] == pytest.approx(0.0003)
    assert found["slow", 1, True] == pytest.approx(1.5)
    assert len(slow_calls) == 3  # to warm up, and until it had 2 s


def test_emulator_cases_compute_what_they_say(toy_emulator, prior_draws):
    theta = prior_draws(20)
    z = PARAMETERS.index("zred")
    cases = timing.emulator_cases("toy", toy_emulator, theta)
    assert {(c.batch, c.fixed) for c in cases} == {(1, False), (1, True), (256, False), (256, True)}
    same = np.resize(theta, (256, theta.shape[1]))
    np.testing.assert_array_equal(
        next(c for c in cases if c.batch == 256 and not c.fixed).call(), toy_emulator.maggies(same)
    )
    same[:, z] = np.median(theta[:, z])
    np.testing.assert_array_equal(
        next(c for c in cases if c.batch == 256 and c.fixed).call(),
        toy_emulator.reference_maggies(same),
    )
    assert all(len(c.call()) == c.vectors == c.batch for c in cases)


def test_exact_sps_is_timed_with_the_rest(toy_emulator, toy_tables, test_set, quick):
    pytest.importorskip("torch", reason="ExactSPS needs torch")
    from prospect_emu.training.exact import ExactSPS

    theta = test_set.load()["theta"]
    scored = [evaluation_report.Scored("toy", toy_emulator, None, theta)]
    found = evaluation_report.time_all(scored, test_set, ExactSPS(toy_tables))
    assert {label for label, _, _ in found} == {"toy", "ExactSPS"}
    assert all(value > 0.0 for value in found.values())


@pytest.mark.fsps
@pytest.mark.slow
def test_fsps_is_timed_with_the_rest(fsps_ready, test_set):
    """Each call computes distinct, finite fluxes of the test set's bands."""
    (case,) = timing.fsps_cases(test_set.recipe, test_set.load()["theta"])
    flux = np.array([f for f, _ in case.call()])
    assert flux.shape == (case.vectors, len(test_set.recipe.filters))
    assert np.isfinite(flux).all() and len(np.unique(flux[:, 0])) == case.vectors


# ---- emulators on a test set ----------------------------------------------------------------


@pytest.fixture(scope="module")
def samples(tmp_path_factory, toy_emulator):
    """1000 samples of a teacher in place of FSPS."""
    folder = tmp_path_factory.mktemp("samples") / "test"
    recipe = Recipe(filters=toy_emulator.filters)
    store = SampleStore(folder, recipe, "test", 500, {"libraries": ["teacher"]})
    for i in range(2):
        theta = store.draw(i)
        flux = {"maggies": toy_emulator.maggies(theta), "mfrac": toy_emulator.mfrac(theta)}
        store.write(i, {"theta": theta, **flux})
    return folder


@pytest.fixture
def test_set(samples):
    return SampleStore.open(samples)


@pytest.fixture
def quick(monkeypatch):
    """Every case timed once: tests are not about how long it takes."""
    once = functools.partial(timing.measure, rounds=1, turn=0.0)
    monkeypatch.setattr(evaluation_report.timing, "measure", once)


@pytest.fixture
def files(make_emulator, tmp_path):
    """Emulators of three widths, the worse the narrower, as files."""
    teacher, paths = make_emulator(), []
    for width, noise in ((8, 0.3), (16, 0.1), (32, 0.03)):
        # The teacher's function in a network of any width: its outputs scaled, and
        # narrower or wider hidden layers cut off or padded with nodes that do nothing.
        net = teacher.flux_net
        keep = min(width, 16)

        def fit(array, shape, keep=keep):
            out = np.zeros(shape, dtype=array.dtype)
            window = tuple(slice(0, min(keep, n) if n == 16 else n) for n in array.shape)
            out[window] = array[window]
            return out

        def size(n, width=width):
            return width if n == 16 else n

        net = dataclasses.replace(
            net,
            weights=tuple(fit(w, tuple(size(n) for n in w.shape)) for w in net.weights),
            biases=tuple(fit(b, (size(len(b)),)) for b in net.biases),
            out_std=net.out_std * (1.0 + noise),
        )
        path = tmp_path / f"w{width}.safetensors"
        manifest = teacher.manifest
        if width == 32:  # the others' files do not tell how they were trained
            manifest = manifest | {"training": {"validation_rmse": [0.2, 0.1, 0.04]}}
        dataclasses.replace(teacher, flux_net=net, name="net", manifest=manifest).save(path)
        paths.append(str(path))
    return paths


def run(capsys, *args):
    status = cli.main(["evaluate", *map(str, args)])
    return status, *capsys.readouterr()


def test_report(files, samples, test_set, tmp_path, capsys, quick, monkeypatch):
    monkeypatch.delenv("PROSPECT_EMU_TABLES", raising=False)
    folder = tmp_path / "report"
    status, out, err = run(capsys, *files, samples, "--report", folder)
    assert status == 0, err
    page = (folder / "report.md").read_text()
    found = json.loads((folder / "report.json").read_text())
    assert found["answer"] in page and found["answer"] in out
    assert "Not timed: FSPS, ExactSPS." in page
    links = re.findall(r"\]\(([^)]+)\)", page)
    assert len(links) == 1 + 1 + 3 * 3 and all((folder / link).stat().st_size for link in links)

    assert [n["width"] for n in found["emulators"].values()] == [8, 16, 32]
    data = test_set.load()
    for path in files:
        # Everything again, from the file and the samples, with NumPy alone.
        emulator = load_emulator(path)
        label = path.split("/")[-1].removesuffix(".safetensors")
        truth = maggies_to_arsinh(data["maggies"])
        r = maggies_to_arsinh(emulator.maggies(data["theta"])) - truth
        n = found["emulators"][label]
        std = np.sqrt(((r - r.mean(axis=0)) ** 2).sum(axis=0) / (len(r) - 1))
        assert n["std_median"] == pytest.approx(np.median(std))
        assert n["std_worst"] == pytest.approx(std.max())
        assert n["std_worst_band"] == emulator.filters[np.argmax(std)]
        assert n["bias_worst"] == pytest.approx(np.abs(r.mean(axis=0)).max())
        bright = truth < 30
        assert n["bright_within_0.05"] == pytest.approx((np.abs(r)[bright] < 0.05).mean())
        tail = np.sort(np.abs(r)[bright])[int(np.ceil(0.99 * bright.sum())) - 1]
        # The 99th percentile of some 10,000 values, but for how it interpolates.
        assert n["good_enough_from_tail"] == pytest.approx(tail / A, rel=0.01)
        assert n["good_enough_from_std"] == pytest.approx(3 * std.max() / A)

        table = Table.read(folder / f"{label}-bands.ecsv")
        np.testing.assert_allclose(table["std"], std)
        expected = np.quantile(r, norm.cdf(np.arange(-4, 5)), axis=0)
        for level, quantile in zip(table.colnames[-9:], expected, strict=True):
            np.testing.assert_allclose(table[level], quantile, err_msg=level)
        assert table.colnames[-9:] == [
            "-4 sigma", "-3 sigma", "-2 sigma", "-1 sigma", "0 sigma",
            "+1 sigma", "+2 sigma", "+3 sigma", "+4 sigma",
        ]  # fmt: skip


def test_existing_report_stays(files, samples, tmp_path, capsys, quick, monkeypatch):
    monkeypatch.setattr(
        evaluation_report, "save_figure", lambda *args, **settings: None
    )  # the slow part
    folder = tmp_path / "report"
    folder.mkdir()
    (folder / "report.md").write_text("mine")
    status, _, err = run(capsys, files[0], samples, "--report", folder)
    assert status != 0 and "overwrite" in err
    assert (folder / "report.md").read_text() == "mine"
    status, _, err = run(capsys, files[0], samples, "--report", folder, "--overwrite")
    assert status == 0, err
    assert "Least squares" not in (folder / "report.md").read_text()


def test_one_emulator_without_report(files, samples, test_set, tmp_path, capsys):
    """Prints every band and one sentence, and writes the same table."""
    out_file = tmp_path / "bands.ecsv"
    status, out, err = run(capsys, files[0], samples, "--out", out_file)
    assert status == 0, err
    emulator = load_emulator(files[0])
    assert all(band in out for band in emulator.filters) and "12 bands: std median" in out
    data, table = test_set.load(), Table.read(out_file)
    r = maggies_to_arsinh(emulator.maggies(data["theta"])) - maggies_to_arsinh(data["maggies"])
    np.testing.assert_allclose(table["bias"], r.mean(axis=0))
    np.testing.assert_allclose(table["-2 sigma"], np.quantile(r, norm.cdf(-2), axis=0))


@pytest.mark.parametrize(
    "args, said",
    [
        (["--out", "x.ecsv"], "--report"),
        (["--report", "x", "--floor", "5"], "0.05 means 5 %"),
    ],
)
def test_bad_requests(files, samples, args, said, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(capsys, *files[:2], samples, *args)
    assert status != 0 and said in err and "Traceback" not in err


def test_emulators_must_fit_the_test_set(files, test_set, make_emulator, tmp_path):
    other = make_emulator(bands=make_emulator().filters[:3])
    other.save(tmp_path / "three.safetensors")
    with pytest.raises(FilterError, match="other bands than emulator 'three'"):
        evaluation_report.evaluate([tmp_path / "three.safetensors"], test_set.folder)
    with pytest.raises(ProspectEmuError, match="'w8'"):
        evaluation_report.evaluate([files[0], files[0]], test_set.folder)


def test_width_is_that_of_equal_hidden_layers(toy_emulator):
    for emulator, width in ((toy_emulator, 16), (object(), None)):
        assert evaluation_report.Scored("", emulator, None, None).width == width
