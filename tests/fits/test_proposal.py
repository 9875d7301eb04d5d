"""A proposal for a campaign: trained by the command line, used by a fit and a campaign."""

import time

import numpy as np
import pytest
from astropy.table import Table

from prospect_emu.commands import cli
from prospect_emu.errors import SetupError
from prospect_emu.fit.amortised import attempt
from prospect_emu.fit.one_galaxy import fit_table
from prospect_emu.fit.proposal_coordinates import ProposalCoordinates
from prospect_emu.fits.campaign import run_campaign
from prospect_emu.fits.config import read_config
from prospect_emu.fits.proposal_commands import of_campaign
from prospect_emu.fits.results import read_results
from prospect_emu.networks.proposal import load_proposal
from prospect_emu.sampling.importance import ImportanceSettings
from prospect_emu.sampling.nested import run_nested


@pytest.fixture(scope="module")
def trained(tmp_path_factory, make_workshop):
    pytest.importorskip("torch", reason="training needs the extra 'train' (torch)")
    shop = make_workshop(tmp_path_factory.mktemp("proposal"))
    shop.catalog(3)
    path = shop.folder / "p.safetensors"
    words = "--epochs", "2", "--chunk", "256", "--batch", "64", "--snr", "0", "--quiet"
    assert cli.main(["train", "posterior", str(shop.toml()), "--out", str(path), *words]) == 0
    return shop


@pytest.fixture
def few_draws(monkeypatch):
    """Toy posteriors need no more."""
    few = ImportanceSettings(n_eff=200, first=1024, most=2048, chains=400, least=3, rounds=8)
    monkeypatch.setattr("prospect_emu.fit.amortised.ImportanceSettings", lambda: few)


def test_a_campaign_samples_by_it(trained, inline, few_draws):
    """Hardly trained, it is mended by chains or gives way; the table says which."""
    fit = 'sampler = "amortised"\nproposal = "p.safetensors"'
    config = read_config(trained.toml("a", fit=fit))
    states = run_campaign(config, executor=inline)
    assert states["done"] + states["stalled"] == 3
    table = read_results(config.output).table
    assert set(table["verdict"]) <= {"good", "grown", "refit"}
    assert all(len(reason) > 10 for reason in table["verdict_reason"])
    assert np.isfinite(table["logz"]).all()
    assert (table["n_eff"][table["verdict"] == "grown"] >= 150).all()


def test_it_belongs_to_its_sampler(trained):
    with pytest.raises(SetupError, match="belong together"):
        read_config(trained.toml("b", fit='sampler = "amortised"'))


def test_simulated_galaxies_are_the_models(trained):
    """Coordinates of a simulated galaxy lead back to its parameters, to rounding."""
    simulator, told = of_campaign(read_config(trained.toml("c")), 0.0, 64, 0)
    assert told["labels"][0] == "massmet_1" and len(told["bands"]) == 6
    w, theta, flux, unc, mask = simulator.galaxies(3, 5)
    again = simulator.galaxies(3, 3)
    np.testing.assert_array_equal(again[0], w[:3])
    posterior = simulator.posterior_at(simulator.redshift(3), flux[0], unc[0], mask[0])
    found, logl, log_prior = ProposalCoordinates(posterior).target(w[:1])
    np.testing.assert_allclose(found, theta[:1], rtol=1e-5, atol=1e-5)
    assert logl[0] == pytest.approx(posterior.log_likelihood(theta[:1])[0], rel=1e-3)
    assert np.isfinite(log_prior).all()


def test_the_prior_of_coordinates_is_normalised(trained):
    """The mean of prior over a wide density, all of whose draws count, is 1 within 5 errors."""
    simulator, _ = of_campaign(read_config(trained.toml("d")), 0.0, 64, 0)
    _, _, flux, unc, mask = simulator.galaxies(3, 1)
    posterior = simulator.posterior_at(simulator.redshift(3), flux[0], unc[0], mask[0])
    coordinates = ProposalCoordinates(posterior)
    rng, n, ndim = np.random.default_rng(0), 20000, posterior.ndim
    w = 1.2 * rng.normal(size=(n, ndim))
    # The prior of the mass is as wide as 6.5 dex, in units of the brightness's error.
    wide = 20.0 * np.log(10.0) * coordinates.snr
    w[:, coordinates.mass] = wide * (rng.random(n) - 0.5)
    others = np.delete(w, coordinates.mass, axis=1)
    log_q = -0.5 * (others / 1.2) ** 2 - np.log(1.2) - 0.5 * np.log(2 * np.pi)
    ratio = np.exp(coordinates.target(w)[2] - log_q.sum(axis=1) + np.log(wide))
    assert ratio.mean() == pytest.approx(1.0, abs=5.0 * ratio.std() / np.sqrt(n))


def test_a_fit_of_one_galaxy_takes_it(trained, tmp_path, capsys, few_draws):
    cat = Table.read(trained.folder / "cat.ecsv")
    table = Table({"band": trained.emulator.filters})
    for name in ("flux", "error"):
        table[name] = [cat[f"{name[0]}{j}"][0] for j in range(len(table))]
    table.write(tmp_path / "t.ecsv", format="ascii.ecsv")
    words = ["fit", str(tmp_path / "t.ecsv"), "--zred", str(cat["zred"][0]), "--unit", "mgy"]
    words += ["--emulator", str(trained.file), "--out", str(tmp_path / "o"), "--nlive", "40"]
    words += ["--max-calls", "3000", "--seed", "1", "--error-floor", "0"]
    assert cli.main([*words, "--sampler", "amortised"]) == 2
    assert "--proposal belong together" in capsys.readouterr().err
    words += ["--sampler", "amortised", "--proposal", str(trained.folder / "p.safetensors")]
    assert cli.main(words) in (0, 3)
    assert "Learnt proposal p: " in capsys.readouterr().out


def test_a_fit_takes_the_object(trained, few_draws, monkeypatch):
    """The same samples as by its file; the settings hold its name. Its seconds count as spent."""
    cat = Table.read(trained.folder / "cat.ecsv")
    n = range(len(trained.emulator.filters))
    table = {"band": list(trained.emulator.filters)}
    table |= {name: [cat[f"{name[0]}{j}"][0] for j in n] for name in ("flux", "error")}
    path = trained.folder / "p.safetensors"
    budgets = []

    def nested(*args, spent, max_seconds, **kwargs):
        budgets.append((spent, max_seconds))
        return run_nested(*args, **kwargs)

    monkeypatch.setattr("prospect_emu.fit.fitting.run_nested", nested)
    monkeypatch.setattr("prospect_emu.fit.fitting.attempt", slow_attempt)
    one, two = (
        fit_table(
            table, float(cat["zred"][0]), unit="mgy", emulator=trained.file, error_floor=0.0,
            seed=1, proposal=given, nested_nlive_init=40, nested_maxcall=3000, max_seconds=900,
        )
        for given in (path, load_proposal(path))
    )  # fmt: skip
    np.testing.assert_array_equal(one.samples, two.samples)
    assert two.info["settings"]["proposal"] == "p"
    assert all(spent >= 0.2 and most == 900 for spent, most in budgets)
    assert len(budgets) == 2 * (one.info["diagnostics"]["amortised"]["verdict"] == "refit")


def slow_attempt(*args, **kwargs):
    time.sleep(0.2)
    return attempt(*args, **kwargs)
