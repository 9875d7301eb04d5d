"""Comparisons: statistics against their definitions, pairs, and the command on real files."""

import numpy as np
import pytest
from astropy.table import Table
from scipy.stats import binom

from prospect_emu.errors import DataError
from prospect_emu.fits import compare as c
from prospect_emu.fits import compare_figures
from prospect_emu.fits.campaign import run_campaign
from prospect_emu.fits.results import write_results
from prospect_emu.observe.table_files import write_table

NAMES = ("logmass", "logzsol", "log_sfr_100", "mass_weighted_age", "dust2")


def fake(folder, medians, sigma=0.1, emulator="a", repeat=0, truth=None):
    """A results table as a finished campaign leaves it, without the result files."""
    medians = np.asarray(medians, dtype=float)
    n = len(medians)
    table = Table({"galaxy": [str(i) for i in range(n)]})
    table["emulator"], table["repeat"], table["state"] = emulator, repeat, "done"
    for name in NAMES:
        for q, shift in (("p16", -sigma), ("p50", 0.0), ("p84", sigma)):
            table[f"{name}_{q}"] = medians + shift
        if truth is not None:
            table[f"true_{name}"] = truth
    folder.mkdir(exist_ok=True)
    write_table(table, folder / "results.ecsv")
    return folder


def test_discrepancy():
    """By hand: medians 0.5 apart, sigmas 0.3 and 0.4: D = 1."""
    a, b = np.array([[0.7], [1.0], [1.3]]), np.array([[1.1], [1.5], [1.9]])
    assert c.discrepancy(a, b) == pytest.approx([1.0], rel=1e-12)


@pytest.mark.parametrize(("k", "n"), [(0, 30), (3, 100), (100, 100)])
def test_binomial_interval(k, n):
    """Clopper and Pearson's definition: at each end, k or beyond has a probability of 2.5 %."""
    low, high = c.binomial_interval(k, n)
    if k > 0:
        assert binom.sf(k - 1, n, low) == pytest.approx(0.025, rel=1e-6)
    if k < n:
        assert binom.cdf(k, n, high) == pytest.approx(0.025, rel=1e-6)
    assert low <= k / n <= high


def test_statistics(tmp_path):
    """Shifts known by construction: 68th percentile, D and outliers follow from them."""
    base = np.full(100, 10.0)
    shift = np.zeros(100)
    shift[:5] = 1.0  # 1 / hypot(0.1, 0.1) = 7.1 sigma
    shift[5:] = np.linspace(-0.2, 0.2, 95)
    pairs = c.make_pairs(fake(tmp_path / "x", base), [fake(tmp_path / "y", base + shift)])
    assert [p.label for p in pairs] == ["a (y)"]
    table = c.comparison_table(pairs)
    row = table[table["parameter"] == "logmass"][0]
    assert row["delta68"] == pytest.approx(np.percentile(np.abs(shift), 68), rel=1e-9)
    assert row["delta68_percent"] == pytest.approx(100 * (10 ** row["delta68"] - 1), rel=1e-12)
    assert row["offset"] == pytest.approx(np.median(shift), abs=1e-12)
    assert (row["outliers"], row["n"], row["rate"]) == (5, 100, 0.05)
    assert (row["rate_low"], row["rate_high"]) == c.binomial_interval(5, 100)
    # Ages in Gyr are compared as logarithms.
    age = table[table["parameter"] == "log_mass_weighted_age"][0]
    want = np.percentile(np.abs(np.log10((base + shift) / base)), 68)
    assert age["delta68"] == pytest.approx(want, rel=1e-9)


def test_galaxies_are_matched_by_name(tmp_path):
    values = np.arange(5.0) + 8
    one = fake(tmp_path / "x", values)
    two = fake(tmp_path / "y", values)
    table = Table.read(two / "results.ecsv", format="ascii.ecsv")
    write_table(table[[4, 2, 0]], two / "results.ecsv")
    (pair,) = c.make_pairs(one, [two])
    assert len(pair.a.table) == 3
    assert all(np.all(d == 0) for d in pair.d.values())
    table["galaxy"] = [f"other{i}" for i in range(5)]
    write_table(table, two / "results.ecsv")
    with pytest.raises(DataError, match="no galaxy in common"):
        c.make_pairs(one, [two])


def test_repeats_and_widths_in_one_folder(tmp_path):
    """Repeats are compared in pairs that share no run; another emulator by its first."""
    rng = np.random.default_rng(1)
    folder = tmp_path / "x"
    parts = []
    for emulator, repeat in (("w64", 0), ("w128", 0), ("w128", 1), ("w128", 2), ("w128", 3)):
        fake(folder, 10 + 0.1 * rng.normal(size=20), emulator=emulator, repeat=repeat)
        parts.append(Table.read(folder / "results.ecsv", format="ascii.ecsv"))
    from astropy.table import vstack

    write_table(vstack(parts), folder / "results.ecsv")
    pairs = c.make_pairs(f"{folder}:w64", [folder])
    assert [(p.label, p.repeat, len(p.a.table)) for p in pairs] == [
        ("w128", False, 20), ("w128, repeated", True, 40),
    ]  # fmt: skip
    with pytest.raises(DataError, match=r"names no converged fits; .* holds w128:0"):
        c.make_pairs(f"{folder}:w256", [folder])
    with pytest.raises(DataError, match="one and the same"):
        c.make_pairs(f"{folder}:w64", [])


def test_folders_of_one_name(tmp_path):
    """The whole path tells them apart: a second campaign is no repeat of the first."""
    folders = []
    for i, parent in enumerate(("old", "new")):
        (tmp_path / parent).mkdir()
        folders.append(fake(tmp_path / parent / "run", np.full(4, 10.0 + i)))
    (pair,) = c.make_pairs(folders[0], [folders[1]])
    assert not pair.repeat and pair.label == f"a ({folders[1]})"
    assert pair.a.label == f"a ({folders[0]})"
    np.testing.assert_allclose(pair.b.levels("logmass") - pair.a.levels("logmass"), 1.0)


def test_recovery(tmp_path):
    """Offsets and coverage by construction: 30 of 40 truths inside the interval."""
    truth = np.full(40, 10.0)
    medians = truth + np.where(np.arange(40) < 30, 0.05, 0.3)
    fake(tmp_path / "x", medians, truth=truth)
    fake(tmp_path / "y", medians, truth=truth, emulator="b")
    sides = c.sides_of(c.make_pairs(tmp_path / "x", [tmp_path / "y"]))
    table = c.recovery_table(sides)
    row = table[(table["side"] == "b") & (table["parameter"] == "logzsol")][0]
    assert row["inside68"] == 0.75 and row["offset"] == pytest.approx(0.05, rel=1e-9)
    assert row["inside_low"] < 0.75 < row["inside_high"]


def test_command(workshop, inline):
    """Two campaigns of real fits: every file that the help promises, and no D between twins."""
    from prospect_emu.commands.cli import main

    for name in ("one", "two"):
        config = workshop.config(name, top="repeats = 2")
        run_campaign(config, executor=inline)
        from prospect_emu.fits.results import read_results

        write_results(read_results(config.output), config.output)
    out = workshop.folder / "out"
    folders = [str(workshop.folder / name) for name in ("one", "two")]
    assert main(["compare", *folders, "--out", str(out)]) == 0
    table = Table.read(out / "comparison.ecsv", format="ascii.ecsv")
    twins = table[~table["repeat"]]
    # The same seeds: the same posteriors.
    assert np.all(twins["D95"] == 0) and np.all(twins["outliers"] == 0)
    repeats = table[table["repeat"]]
    assert len(repeats) and np.all(repeats["D95"] > 0)
    for name in ("medians", "discrepancies", "rates"):
        assert (out / f"{name}.png").stat().st_size > 10_000
    wide = Table.read(out / "discrepancies.ecsv", format="ascii.ecsv")
    assert len(wide) == 2 + 2 + 2  # the twins, and the repeats of each


def test_figures_of_widths(tmp_path):
    """Pairs named by width stand in the order of their widths, each with its number."""
    base = np.full(30, 10.0)
    pairs = []
    for width in (256, 64, 128):
        folder = fake(tmp_path / str(width), base + 4.0 / width, emulator=f"net-{width}")
        reference = fake(tmp_path / "exact", base, emulator="exact")
        pairs += c.make_pairs(reference, [folder])
    ax = compare_figures.rates_figure(pairs).axes[0]
    wanted = [f"net-{width}\n30 galaxies" for width in (64, 128, 256)]
    assert [t.get_text() for t in ax.get_xticklabels()] == wanted


def test_galaxies_that_are_left_out_are_named(tmp_path):
    """What is not converged on a side, or not there, with its reason."""
    one, two = fake(tmp_path / "x", np.full(5, 10.0)), fake(tmp_path / "y", np.full(4, 10.0))
    for folder, state in ((one, "stalled"), (two, "failed")):
        table = Table.read(folder / "results.ecsv")
        table["state"] = np.array(table["state"], dtype="U9")
        table["state"][1 if folder == one else 2] = state
        write_table(table, folder / "results.ecsv")
    (pair,) = c.make_pairs(one, [two])
    assert list(pair.a.table["galaxy"]) == ["0", "3"]
    found = {r["galaxy"]: r["reason"] for r in c.left_out_table([pair])}
    assert found == {
        "1": "stalled in a (x)", "2": "failed in a (y)", "4": "not fitted in a (y)"
    }  # fmt: skip


def test_models_without_all_quantities(tmp_path):
    """Compared in what both have; mass formed goes by its name of either model."""
    one, two = fake(tmp_path / "x", np.full(5, 10.0)), fake(tmp_path / "y", np.full(5, 10.5))
    table = Table.read(two / "results.ecsv")
    for q in ("p16", "p50", "p84"):
        table.rename_column(f"logmass_{q}", f"log_mass_formed_{q}")
        table.remove_column(f"logzsol_{q}")
    write_table(table, two / "results.ecsv")
    pairs = c.make_pairs(one, [two])
    assert pairs[0].quantities == ["logmass", "log_sfr_100", "log_mass_weighted_age"]
    rows = c.comparison_table(pairs)
    assert rows["offset"][list(rows["parameter"]).index("logmass")] == pytest.approx(0.5)
    for figure in (compare_figures.medians_figure, compare_figures.discrepancy_figure,
                   compare_figures.rates_figure):  # fmt: skip
        assert figure(pairs).axes
