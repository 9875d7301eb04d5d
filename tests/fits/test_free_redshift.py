"""Campaigns of galaxies without a redshift, and with an uncertain one."""

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from prospect_emu import FitResult
from prospect_emu.errors import DataError, RangeError
from prospect_emu.fits.campaign import make_plan, run_campaign
from prospect_emu.fits.results import read_results
from prospect_emu.fits.store import Store


@pytest.fixture
def make(workshop):
    """A campaign of three galaxies: with redshift, with an uncertain one, with none."""

    def make(lines, fit=""):
        path = workshop.catalog(3)
        table = Table.read(path, format="ascii.ecsv")
        table["zred"] = [0.8, 1.2, np.nan]
        table["z_err"] = [0.0, 0.05, np.nan]
        table.write(path, format="ascii.ecsv", overwrite=True)
        return workshop.config_with(lines, fit)

    return make


def test_an_emulator(make, inline, workshop):
    z = np.array([0.6, 1.0, 1.4])
    Table({"z": z, "p": [0.0, 1.0, 0.0]}).write(workshop.folder / "pz_102.csv")
    config = make(
        'zred_error_column = "z_err"\nzred_prior = "pz_{id}.csv"',
        'restframe = ["M_UV"]',
    )
    states = run_campaign(config, executor=inline)
    # To the end: no budget ends them.
    assert states == {"done": 3}
    table = read_results(config.output).table
    fixed, near, free = table
    assert np.isfinite(table["M_UV_p50"]).all()
    assert fixed["zred"] == 0.8 and np.isnan(fixed["zred_p50"])
    assert abs(near["zred_p50"] - 1.2) < 0.2 and near["zred_p975"] > near["zred_p025"]
    assert 0.6 < free["zred_p025"] < free["zred_p975"] < 1.4

    # The prior is part of what a result is known by.
    before = [t.fingerprint for t in make_plan(config, Store(config.output)).tasks.values()]
    Table({"z": z, "p": [0.0, 2.0, 1.0]}).write(workshop.folder / "pz_102.csv", overwrite=True)
    after = [t.fingerprint for t in make_plan(config, Store(config.output)).tasks.values()]
    assert [a != b for a, b in zip(before, after, strict=True)] == [False, False, True]


def test_a_template(make, inline, workshop):
    config = make('zred_prior = "uniform:0.5,2"', 'model = ["parametric_sfh"]\nmax_calls = 600')
    run_campaign(config, executor=inline)
    plan = make_plan(config, Store(config.output))
    one, two, three = (FitResult.read(task.path) for task in plan.tasks.values())
    assert (one.info["zred"], two.info["zred"], three.info["zred"]) == (0.8, 1.2, None)
    assert {"zred", "tage_tuniv"} <= set(three.parameters) and "tage" in one.parameters


def test_a_magnification(make, inline):
    """A column of magnifications reaches the models, the results and what these are known by."""
    fit = 'model = ["parametric_sfh"]\nmax_calls = 600'
    plain = make('zred_prior = "uniform:0.5,2"', fit)
    before = [t.fingerprint for t in make_plan(plain, Store(plain.output)).tasks.values()]
    config = make('zred_prior = "uniform:0.5,2"\nmagnification = "mu"', fit)
    table = Table.read(config.catalog.path, format="ascii.ecsv")
    table["mu"] = [4.0, 2.0, np.nan]
    table.write(config.catalog.path, format="ascii.ecsv", overwrite=True)
    run_campaign(config, executor=inline)
    tasks = make_plan(config, Store(config.output)).tasks.values()
    assert [t.fingerprint != b for t, b in zip(tasks, before, strict=True)] == [True, True, False]
    one, _, three = (FitResult.read(task.path) for task in tasks)
    assert one.info["magnification"] == 4.0 and "magnification" not in three.info
    assert make('magnification = ".5"').catalog.magnification == ".5"
    assert Path(make('magnification = "2nd.csv"').catalog.magnification).is_absolute()
    with pytest.raises(DataError, match="may also be a column"):
        make_plan(make('magnification = "mju"'), Store(config.output))


def test_galaxies_that_stay_out(make, workshop):
    config = make("")
    assert [g for g, _ in make_plan(config, Store(config.output)).left_out] == ["102"]
    config = make('zred_prior = "pz_{id}.csv"')
    ((galaxy, reason),) = make_plan(config, Store(config.output)).left_out
    assert galaxy == "102" and "pz_102.csv" in reason
    with pytest.raises(RangeError, match="narrow it"):
        make_plan(make('zred_prior = "uniform:0,1"'), Store(config.output))
