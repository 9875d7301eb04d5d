"""A result in other packages' forms gives the numbers of its summary."""

import inspect

import numpy as np
import pytest

import prospect_emu
from prospect_emu.errors import DataError, SetupError
from prospect_emu.fit.one_galaxy import fit_table, prepare


@pytest.fixture(scope="module")
def result():
    """The bundled mock galaxy, sampled badly but quickly, by the call of the documentation."""
    return prospect_emu.fit(
        seed=1, nested_nlive_init=60, nested_walks=5, nested_maxbatch=0, nested_maxcall=8000
    )


def row(result, name):
    summary = result.summary()
    return summary[list(summary["parameter"]).index(name)]


def test_fit_in_one_call(result):
    assert len(result.parameters) == 17 and result.info["settings"]["error_floor"] == 0.05
    # The package stays importable, whoever was first.
    from prospect_emu.fit import result as module

    assert module.FitResult is type(result)
    assert "table" in inspect.signature(prospect_emu.fit).parameters


def test_table_of_samples(result):
    table = result.table()
    assert len(table) == len(result.weights) and "weight" in table.colnames
    assert table["logmass"].description == "log10(Msun)" and "log_stellar_mass" in table.colnames
    drawn = result.table(draws=4000, seed=2)
    # A median of draws scatters by about a hundredth of the posterior's width.
    expected = row(result, "logmass")
    width = expected["p84"] - expected["p16"]
    assert abs(np.median(drawn["logmass"]) - expected["p50"]) < 0.1 * width


def test_quantiles_of_a_function(result):
    """Of a linear one they are the function of the quantiles."""
    summary = result.summary()
    row = summary[list(summary["parameter"]).index("logmass")]
    got = result.quantiles(lambda c: 2.0 * c["logmass"] - 1.0)
    want = np.array([row["p16"], row["p50"], row["p84"]])
    np.testing.assert_allclose(got, 2.0 * want - 1.0, rtol=1e-12)
    pair = result.quantiles(lambda c: np.stack([c["logmass"], -c["logmass"]], axis=1), [0.5])
    # Copies of a sample are in another order.
    np.testing.assert_allclose(pair[0, 0], -pair[0, 1], rtol=1e-5)
    with pytest.raises(DataError, match="one value, or one row"):
        result.quantiles(lambda c: 1.0)


def test_anesthetic(result):
    pytest.importorskip("anesthetic")
    samples = result.to_anesthetic()
    expected = np.average(result.samples[:, 0], weights=result.weights)
    assert samples["logmass"].mean() == pytest.approx(expected, rel=1e-6)


def test_arviz(result):
    pytest.importorskip("arviz_base")
    tree = result.to_arviz(draws=500, seed=3)
    expected = result.samples[result.draw(500, seed=3), 0]
    assert np.array_equal(tree["posterior"]["logmass"].values[0], expected)


def test_display_in_notebooks(result):
    page = result._repr_html_()
    assert "logmass" in page and f"{row(result, 'logmass')['p50']:.4g}" in page
    assert "17 free parameters" in repr(result)


def test_figures_by_name(result):
    assert result.plot_sed(unit="uJy").axes[0].get_ylabel().startswith("Flux density")
    assert result.plot_sfh().axes and len(result.plot_corner(draws=200).axes) == 17**2


def test_an_emulator_for_another_model():
    with pytest.raises(SetupError, match="leave it out"):
        prepare(None, model="ssp", emulator="mathews23-64")


def test_a_table_that_is_not_there(tmp_path):
    with pytest.raises(DataError, match="absent"):
        fit_table(tmp_path / "absent.csv", zred=1.0)
