"""Campaigns without disturbances: states, resume, fingerprints, seeds, retries, tables."""

import json
import re

import numpy as np
import pytest
from astropy.table import Table

from prospect_emu.errors import DataError, FilterError, OutputError, SetupError
from prospect_emu.fit.result import FitResult
from prospect_emu.fits import backends
from prospect_emu.fits.campaign import Options, campaign_status, make_plan, run_campaign
from prospect_emu.fits.config import parse_config, read_config
from prospect_emu.fits.fingerprints import Key, changed_fields, seed_of
from prospect_emu.fits.results import read_results, write_results
from prospect_emu.fits.store import Store
from prospect_emu.fits.work import obs_of, row_of


def counts(folder):
    return dict(campaign_status(folder)["states"])


# ---- running and resuming --------------------------------------------------------------------


def test_makes_every_fit_once(workshop, inline):
    config = workshop.config()
    assert run_campaign(config, executor=inline) == {"done": 2}
    assert [k.name for k in inline.seen] == [f"toy/{i}_r0" for i in (100, 101)]
    assert counts(config.output) == {"done": 2}
    # A second run has nothing to do, with the index or without it.
    for _ in range(2):
        again = type(inline)()
        assert run_campaign(config, executor=again) == {"done": 2} and not again.seen
        Store(config.output).path("index.json").unlink()


def test_more_galaxies_and_repeats_add_fits(workshop, inline):
    run_campaign(workshop.config(), executor=inline)
    workshop.catalog(2)  # the same rows
    config = workshop.config(top="repeats = 2")
    more = type(inline)()
    assert run_campaign(config, executor=more) == {"done": 4}
    assert [k.repeat for k in more.seen] == [1, 1]
    table = read_results(config.output).table
    assert len(set(table["seed"])) == 4 and len(set(table["logz"])) == 4


def test_a_campaigns_fit_is_the_single_fit(workshop, inline):
    """The same seed gives the same numbers, bit for bit, with and without a campaign."""
    config = workshop.config()
    run_campaign(config, executor=inline)
    store = Store(config.output)
    task = make_plan(config, store).tasks[Key("toy", "101", 0)]
    single = backends.load_backend(config.emulators[0]).fit(
        obs_of(task.photometry), config.fit, seed_of(0, "101", 0)
    )
    assert store.record(task.key)["row"] == row_of(single)


def test_order_does_not_matter(workshop, inline, undisturbed, same_tables):
    """The catalog upside down: the same rows, upside down."""
    table = Table.read(workshop.catalog(2), format="ascii.ecsv")
    table[::-1].write(workshop.folder / "cat.ecsv", format="ascii.ecsv", overwrite=True)
    config = workshop.config()
    run_campaign(config, executor=inline)
    same_tables(read_results(config.output).table[::-1], undisturbed(workshop, 2))


def test_seeds_depend_on_galaxy_and_repeat_alone():
    """Pinned: a changed rule would make resumed campaigns differ from undisturbed ones."""
    assert seed_of(0, "1746", 0) == 136782326314128
    assert len({seed_of(0, g, r) for g in ("1", "11") for r in (0, 1)}) == 4


# ---- what is current ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"fit": "queue_size = 3"}, "settings.queue_size"),
        ({"top": "seed = 4"}, "fit.seed"),
        ({"bands": ("acs_wfc_f606w", "acs_wfc_f814w", "wfc3_ir_f125w", "wfc3_ir_f160w",
                    "spitzer_irac_ch1")}, "data.bands"),
    ],
)  # fmt: skip
def test_changed_results_are_refused_or_refitted(workshop, inline, change, field):
    run_campaign(workshop.config(), executor=inline)
    config = workshop.config(**change)
    before = Store(config.output).fit_path(Key("toy", "100", 0)).read_bytes()
    with pytest.raises(OutputError, match=rf"2 results .* {field} \(2\)"):
        run_campaign(config, executor=inline)
    assert Store(config.output).fit_path(Key("toy", "100", 0)).read_bytes() == before
    fresh = type(inline)()
    assert run_campaign(config, Options(refit=True), executor=fresh) == {"done": 2}
    assert len(fresh.seen) == 2
    assert run_campaign(config, executor=inline) == {"done": 2}


def test_changed_data_of_one_galaxy(workshop, inline):
    run_campaign(workshop.config(), executor=inline)
    path = workshop.folder / "cat.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    table["f2"][1] *= 1.01
    table.write(path, format="ascii.ecsv", overwrite=True)
    with pytest.raises(OutputError, match=r"1 results .*data\.errors \(1\), data\.fluxes \(1\)"):
        run_campaign(workshop.config(), executor=inline)
    fresh = type(inline)()
    run_campaign(workshop.config(), Options(refit=True), executor=fresh)
    assert [k.galaxy for k in fresh.seen] == ["101"]


def test_changed_emulator(workshop, inline, make_emulator):
    run_campaign(workshop.config(), executor=inline)
    make_emulator(bands=workshop.emulator.filters, seed=1).save(workshop.file)
    backends.load_backend.cache_clear()
    with pytest.raises(OutputError, match=r"emulator\.sha256 \(2\)"):
        run_campaign(workshop.config(), executor=inline)


def test_accepted_difference(workshop, inline, monkeypatch):
    run_campaign(workshop.config(), executor=inline)
    monkeypatch.setattr("prospect_emu.fits.fingerprints.versions", lambda: {"prospect_emu": "9.9"})
    with pytest.raises(OutputError, match=r"versions\.prospect_emu"):
        run_campaign(workshop.config(), executor=inline)
    config = workshop.config()
    assert run_campaign(config, Options(accept=("versions",)), executor=inline) == {"done": 2}
    assert counts(config.output) == {"done": 2}


def test_changed_fields():
    old, new = {"a.x": 1, "b": 2}, {"a.x": 2, "c": 3}
    assert changed_fields(old, new) == ["a.x", "b", "c"]
    assert changed_fields(old, new, ("a", "c")) == ["b"]


# ---- failures ----------------------------------------------------------------------------------


def test_a_poisoned_galaxy_stops_nothing(workshop, inline, monkeypatch):
    fit = backends.Backend.fit

    def poisoned(self, obs, config, seed):
        if seed == seed_of(0, "101", 0):
            raise ZeroDivisionError("poison")
        return fit(self, obs, config, seed)

    monkeypatch.setattr(backends.Backend, "fit", poisoned)
    config = workshop.config(top="retries = 1")
    assert run_campaign(config, executor=inline) == {"done": 1, "failed": 1}
    assert [k.galaxy for k in inline.seen] == ["100", "101", "101"]
    table = read_results(config.output).table
    assert table["detail"][1] == "ZeroDivisionError: poison" and table["attempts"][1] == 2
    assert np.isnan(table["logz"][1])
    record = Store(config.output).failure(Key("toy", "101", 0))
    assert "poisoned" in record["traceback"]
    # It stays failed until asked for.
    assert run_campaign(config, executor=inline)["failed"] == 1
    monkeypatch.setattr(backends.Backend, "fit", fit)
    assert run_campaign(config, Options(retry_failed=True), executor=inline) == {"done": 2}
    assert Store(config.output).failure(Key("toy", "101", 0)) is None


def test_a_budget_makes_a_stalled_fit(workshop, inline):
    config = workshop.config(fit="max_calls = 300")
    assert run_campaign(config, executor=inline) == {"stalled": 2}
    table = read_results(config.output).table
    assert all("budget: maxcall = 300" in s for s in table["detail"])
    assert np.isfinite(table["logmass_p50"]).all()  # there is a posterior, of a kind
    again = type(inline)()
    run_campaign(config, executor=again)
    assert not again.seen


def test_a_worker_in_another_environment_stops_the_campaign(workshop, inline, monkeypatch):
    config = workshop.config()
    store = Store(config.output)
    store.create()
    task = next(iter(make_plan(config, store).tasks.values()))
    monkeypatch.setattr("prospect_emu.fits.fingerprints.versions", lambda: {"numpy": "0"})
    outcome = inline.function(task)
    assert outcome["state"] == "halt" and "versions.numpy" in outcome["error"]


# ---- what is left out --------------------------------------------------------------------


def test_rows_without_data_are_left_out_with_a_reason(workshop, inline):
    workshop.catalog(4, broken=(1,))
    path = workshop.folder / "cat.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    table["zred"][2], table["zred"][3] = np.nan, 3.4
    table.write(path, format="ascii.ecsv", overwrite=True)
    config = workshop.config()
    assert run_campaign(config, executor=inline) == {"done": 1}
    left = Table.read(Store(config.output).path("left_out.ecsv"), format="ascii.ecsv")
    assert list(left["galaxy"]) == ["101", "102", "103"]
    for reason, words in zip(
        left["reason"], ("All bands are masked", "no redshift", "outside 0.5 to 3"), strict=True
    ):
        assert words in reason


def test_a_filter_that_the_emulator_does_not_know(workshop, inline):
    bands = (*workshop.emulator.filters[:5], "galex_FUV")
    with pytest.raises(FilterError, match="'toy' does not know 1 bands of the catalog: galex_FUV"):
        run_campaign(workshop.config(bands=bands), executor=inline)
    assert not inline.seen and not Store(workshop.folder / "c").path("plan.json").exists()
    config = workshop.config("m", bands=bands)
    text = workshop.folder.joinpath("m.toml").read_text()
    workshop.folder.joinpath("m.toml").write_text(text + '\n[select]\nunknown_bands = "mask"\n')
    config = read_config(workshop.folder / "m.toml")
    assert run_campaign(config, executor=inline) == {"done": 2}
    results = read_results(config.output)
    assert list(results.table["bands"]) == [5, 5]
    assert "galex_FUV is left out of the fits with toy" in results.plan["notes"][0]


def test_a_filter_that_nobody_knows(workshop, inline):
    with pytest.raises(FilterError, match="wfc3_ir_f161w"):
        run_campaign(workshop.config(bands=("wfc3_ir_f161w",)), executor=inline)


def test_selection(workshop):
    workshop.catalog(3)
    text = workshop.toml().read_text()
    text += "\n[select]\nlimit = 1\nmin_bands = 3\n[select.range]\nzred = [1.0, 2.0]\n"
    (workshop.folder / "c.toml").write_text(text)
    config = read_config(workshop.folder / "c.toml")
    plan = make_plan(config, Store(config.output))
    assert len(plan.tasks) == 1
    reasons = dict(plan.left_out)
    assert "zred = 0.6 outside 1 to 2" in reasons["100"]
    assert list(reasons.values()).count("select.limit = 1") == 1


def test_two_galaxies_of_one_name(workshop):
    path = workshop.folder / "cat.ecsv"
    table = Table.read(path, format="ascii.ecsv")
    table["id"] = 7
    table.write(path, format="ascii.ecsv", overwrite=True)
    with pytest.raises(DataError, match="'7' more than once"):
        make_plan(workshop.config(), Store(workshop.folder / "c"))


# ---- results ------------------------------------------------------------------------------------


def test_tables_and_files(workshop, inline):
    """The table's numbers are those that each file's own posterior gives."""
    config = workshop.config()
    run_campaign(config, executor=inline)
    results = read_results(config.output)
    row = results.table[1]
    result = FitResult.read(Store(config.output).fit_path(Key("toy", "101", 0)))
    summary = result.summary()
    for line in summary:
        for quantile, name in (("p2.5", "p025"), ("p50", "p50"), ("p97.5", "p975")):
            # The same function of the same samples.
            assert row[f"{line['parameter']}_{name}"] == line[quantile]
    assert (row["logz"], row["n_eff"]) == (result.logz, result.n_eff)
    assert row["chi2"] == result.photometry.chi2
    p = result.photometry
    np.testing.assert_allclose(results.chi[1], (p.maggies - p.predicted[1]) / p.unc, atol=5e-5)
    ecsv, fits = write_results(results, config.output)
    a, b = Table.read(ecsv, format="ascii.ecsv"), Table.read(fits, format="fits")
    assert a.colnames == b.colnames == results.table.colnames
    for name in a.colnames:
        np.testing.assert_array_equal(
            np.asarray(a[name]).astype(str), np.asarray(b[name]).astype(str)
        )


def test_prospector_reads_the_files(workshop, inline):
    from prospect.io.read_results import results_from

    config = workshop.config()
    run_campaign(config, executor=inline)
    path = Store(config.output).fit_path(Key("toy", "100", 0))
    stored, obs, _ = results_from(str(path))
    np.testing.assert_array_equal(stored["chain"], FitResult.read(path).samples)
    assert list(obs["filternames"]) == list(workshop.emulator.filters)


def test_command_line(workshop, capsys):
    """Run with a worker, status and tables; the summary's links lead to files."""
    from prospect_emu.commands.cli import main

    assert main(["campaign", str(workshop.toml())]) == 0
    assert "2 done" in capsys.readouterr().out
    assert main(["campaign", "status", str(workshop.folder / "c")]) == 0
    assert "done     2" in capsys.readouterr().out
    assert main(["campaign", "tables", str(workshop.folder / "none")]) == 2
    page = workshop.folder / "c" / "summary" / "index.html"
    links = re.findall(r'(?:src|href)="([^"]+)"', page.read_text())
    assert len(links) == 6 and all((page.parent / link).stat().st_size > 5000 for link in links)


# ---- configuration -------------------------------------------------------------------------------

GOOD = {"catalog": {"kind": "3dhst", "path": "x"}, "emulators": ["e"], "output": "o"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"outptu": "x"}, "outptu is unknown; did you mean output"),
        ({"fit": {"nliv": 3}}, "fit.nliv is unknown; did you mean fit.nlive"),
        ({"fit": {"nlive": "many"}}, "fit.nlive = 'many' must be a int"),
        ({"fit": {"nlive": True}}, "fit.nlive = True must be a int"),
        ({"fit": {"walks": 0}}, "fit.walks = 0 is too small"),
        ({"executor": {"kind": "ray"}}, "executor.kind = 'ray' is unknown; use local"),
        ({"emulators": []}, "emulators is empty"),
        ({"emulators": ["e", "e"]}, "names one twice"),
        ({"catalog": {"kind": "3dhst"}}, "lacks the setting catalog.path"),
        ({"catalog": 3}, "catalog must be a section"),
    ],
)
def test_faults_of_the_configuration(change, message):
    with pytest.raises(SetupError, match=message):
        parse_config({**GOOD, **change})


def test_paths_start_from_the_configuration(tmp_path):
    config = parse_config(GOOD, tmp_path)
    assert config.catalog.path == str(tmp_path / "x") and config.output == str(tmp_path / "o")
    assert config.emulators == ("e",)  # no file of that name: a bundled emulator


def test_unreadable_configuration(tmp_path):
    with pytest.raises(SetupError, match="Cannot read"):
        read_config(tmp_path / "none.toml")
    for text in ("a = ", f"a = {5000 * '['}"):
        (tmp_path / "bad.toml").write_text(text)
        with pytest.raises(SetupError, match="not valid TOML"):
            read_config(tmp_path / "bad.toml")


def test_a_byte_order_mark_before_the_settings(tmp_path):
    """As Windows's editor writes it; another locale's encoding is not asked either."""
    text = 'name = "é"\noutput = "o"\nemulators = ["e"]\n[catalog]\nkind = "3dhst"\npath = "x"\n'
    (tmp_path / "c.toml").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert read_config(tmp_path / "c.toml").name == "é"


def test_status_of_no_campaign(tmp_path):
    with pytest.raises(DataError, match="holds no campaign"):
        campaign_status(tmp_path)


def test_log_is_one_line_per_attempt(workshop, inline):
    run_campaign(workshop.config(), executor=inline)
    lines = workshop.log()
    assert [x["fit"] for x in lines] == [f"toy/{i}_r0" for i in (100, 101)]
    assert all(x["state"] == "finished" and x["seconds_total"] > x["seconds"] > 0 for x in lines)
    assert json.loads((workshop.folder / "c" / "progress.json").read_text())["done"] == 2
