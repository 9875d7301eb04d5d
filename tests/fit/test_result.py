"""FitResult: numbers against their definitions, files, and figures."""

import json
import resource
import sys
from dataclasses import replace
from types import SimpleNamespace

import h5py
import numpy as np
import pytest
from prospect.fitting import fit_model as prospector_fit_model
from prospect.io.read_results import get_model, get_sps, results_from

from prospect_emu import EmulatorSpecModel, EmulatorSPS
from prospect_emu.errors import DataError, OutputError
from prospect_emu.files import save_figure
from prospect_emu.fit import collect, plots
from prospect_emu.fit.collect import emulator_vectors
from prospect_emu.fit.fitting import fit_model
from prospect_emu.fit.quality import effective_size
from prospect_emu.fit.quantiles import weighted_quantiles
from prospect_emu.fit.result import FitResult
from prospect_emu.networks import sfh
from prospect_emu.networks.vector import PARAMETERS, derived_quantities
from prospect_emu.observe.table_files import write_table
from prospect_emu.observe.tables import make_obs
from prospect_emu.prospector.mathews23 import model_params

TRUTH = dict(zip(PARAMETERS, [
    10.5, -0.4, 0.2, -0.1, 0.0, 0.3, -0.2, 0.1, 0.6, -0.3, 1.1, -2.0, 1.2, -0.4, 1.0,
    2.5, 3.0, -2.1,
], strict=True))  # fmt: skip
ARRAYS = ("samples", "weights", "log_likelihood", "log_posterior", "vectors", "mfrac")


def make_run(emulator, zred=1.0, **settings):
    """Model, obs and sps of a mock galaxy, and a short fit of it."""
    sps = EmulatorSPS(emulator)
    flux = emulator.maggies([TRUTH[p] for p in PARAMETERS])
    noise = np.random.default_rng(3).normal(size=flux.size)
    mask = np.arange(flux.size) != 2
    obs = make_obs(
        sps.filters, flux * (1 + 0.07 * noise), 0.05 * flux, 1.0, mask=mask, truth=dict(TRUTH)
    )
    obs = sps.inflate(obs)
    model = EmulatorSpecModel(model_params(zred=zred))
    settings = {
        "nested_nlive_init": 60,
        "nested_walks": 8,
        "nested_maxbatch": 0,
        "nested_max_error": 9.0,
        **settings,
    }
    output = fit_model(obs, model, sps, seed=1, progress=False, **settings)
    return output, model, obs, sps


@pytest.fixture(scope="module")
def run(toy_emulator):
    return make_run(toy_emulator)


@pytest.fixture(scope="module")
def result(run):
    return FitResult.from_run(*run, seed=1, settings={"nlive": np.int64(60), "x": np.float64(0.1)})


@pytest.fixture
def written(result, tmp_path):
    result.write(tmp_path / "posterior.h5")
    return tmp_path / "posterior.h5"


# ---- numbers ------------------------------------------------------------------------------


def test_quantiles_with_equal_weights_are_numpys():
    x = np.random.default_rng(0).normal(size=(101, 3))
    q = [0.025, 0.16, 0.5, 0.84, 0.975]
    expected = np.quantile(x, q, axis=0, method="hazen")
    np.testing.assert_allclose(weighted_quantiles(x, np.full(101, 7.0), q), expected, rtol=1e-12)


def test_weights_count_as_copies():
    """Integer weights against repeated samples; equal up to the spacing of the samples."""
    rng = np.random.default_rng(1)
    x, copies = rng.normal(size=4000), rng.integers(0, 5, 4000)
    one = weighted_quantiles(x, copies.astype(float), [0.16, 0.5, 0.84])
    two = np.quantile(np.repeat(x, copies), [0.16, 0.5, 0.84])
    np.testing.assert_allclose(one, two, atol=3e-3)


def test_samples_and_weights(run, result):
    results = run[0]["sampling"][0]
    np.testing.assert_array_equal(result.samples, results["samples"])
    assert result.weights.sum() == pytest.approx(1.0, abs=1e-12)
    # Copies of a sample count once; their log likelihoods may differ by the rounding of batches.
    same = (result.samples[:, None] == result.samples).all(axis=2)
    merged = same @ result.weights
    assert effective_size(result.samples, result.weights) == pytest.approx(
        1 / np.sum(result.weights * merged), rel=1e-9
    )
    assert result.n_eff == results.diagnostics["n_effective"]
    assert (result.logz, result.logz_err) == (results["logz"][-1], results["logzerr"][-1])
    assert result.parameters == tuple(p for p in PARAMETERS if p != "zred")
    assert result.info["status"] == "converged" and result.info["seed"] == 1
    assert result.info["settings"] == {"nlive": 60, "x": 0.1}


def test_vectors_are_what_prospector_passes(run, result):
    """Against theta_from_params, sample by sample; 1e-9 for the SFR ratios' way through masses."""
    _, model, _, sps = run
    for i in range(0, len(result.samples), 97):
        model.set_parameters(result.samples[i])
        np.testing.assert_allclose(
            result.vectors[i], sps.theta_from_params(model.params), rtol=1e-9, atol=1e-9
        )
    expected = derived_quantities(result.vectors, sps.emulator.mfrac(result.vectors))
    for name, values in result.derived.items():
        np.testing.assert_array_equal(values, expected[name])


def test_vectors_of_a_model_with_other_names(run, result):
    """The long way, for models whose parameters are not the emulator's."""
    _, model, _, sps = run

    class Renamed:
        theta, params, config_dict = model.theta, model.params, model.config_dict

        def theta_labels(self):
            return [f"x{i}" for i in range(17)]

        def set_parameters(self, theta):
            model.set_parameters(theta)

    few = result.samples[::200]
    vectors = emulator_vectors(Renamed(), sps, few, few[0])
    np.testing.assert_allclose(vectors, result.vectors[::200], rtol=1e-9, atol=1e-9)


def test_draws_follow_the_weights(result):
    n = 20000
    index = result.draw(n, seed=4)
    counts = np.bincount(index, minlength=len(result.weights))
    assert np.abs(counts - n * result.weights).max() < 1 + 1e-6  # systematic resampling
    np.testing.assert_array_equal(index, result.draw(n, seed=4))


def test_best_sample_and_chi2(run, result):
    _, model, obs, sps = run
    _, maggies, _ = model.predict(result.best, obs=obs, sps=sps)
    np.testing.assert_array_equal(result.photometry.best, maggies)
    mask = obs["phot_mask"]
    chi2 = np.sum((((obs["maggies"] - maggies) / obs["maggies_unc"]) ** 2)[mask])
    assert result.photometry.chi2 == pytest.approx(chi2, rel=1e-12)


def test_summary(result):
    table = result.summary()
    assert table.colnames == [
        "parameter", "p2.5", "p16", "p50", "p84", "p97.5", "unit", "truth",
    ]  # fmt: skip
    assert list(table["parameter"][:17]) == list(result.parameters)
    assert list(table["parameter"][17:]) == [
        "log_sfr_10", "log_sfr_30", "log_sfr_100", "log_ssfr_100", "mass_weighted_age", "t50",
        "log_stellar_mass",
    ]  # fmt: skip
    columns = np.array([table[c] for c in table.colnames[1:6]])
    assert (np.diff(columns, axis=0) > 0).all()
    row = dict(zip(table["parameter"], table["truth"], strict=True))
    assert row["logmass"] == TRUTH["logmass"]
    expected = derived_quantities(np.array([TRUTH[p] for p in PARAMETERS]))
    assert row["log_sfr_100"] == pytest.approx(float(expected["log_sfr_100"]), rel=1e-12)
    assert np.isnan(row["log_stellar_mass"])  # not given: it needs FSPS
    assert table.meta["status"] == "converged" and table.meta["bands_fitted"] == 11


def test_truth_is_counted(result):
    inside, known = result.truth_inside()
    assert known == 17 and 0 <= inside <= 17
    nowhere = replace(result, truth={"logmass": 99.0, "dust2": float(result.vectors[:, 8].mean())})
    table = nowhere.summary()
    dust2 = table[list(table["parameter"]).index("dust2")]
    expected = int(dust2["p2.5"] <= nowhere.truth["dust2"] <= dust2["p97.5"])
    assert nowhere.truth_inside() == (expected, 2)


def test_summary_file_round_trip(result, tmp_path):
    from astropy.table import Table

    table = result.summary()
    write_table(table, tmp_path / "s.ecsv")
    again = Table.read(tmp_path / "s.ecsv")
    for name in table.colnames:
        np.testing.assert_array_equal(np.asarray(again[name]), np.asarray(table[name]))
    assert again.meta["logz"] == table.meta["logz"]


def test_a_budget_is_in_the_status(toy_emulator):
    with pytest.warns(RuntimeWarning, match="has not converged"):
        run = make_run(toy_emulator, nested_maxcall=400)
    assert FitResult.from_run(*run).info["status"].startswith("budget: maxcall")


def test_free_redshift(toy_emulator):
    run = make_run(toy_emulator, zred=None)
    result = FitResult.from_run(*run)
    assert result.parameters[:1] == ("zred",) and result.info["zred"] is None
    np.testing.assert_array_equal(result.vectors[:, PARAMETERS.index("zred")], result.samples[:, 0])
    for figure in (plots.sed_figure(result), plots.sfh_figure(result)):
        assert figure.axes


@pytest.mark.slow
def test_prospectors_own_fit(toy_emulator, run, tmp_path):
    """The output of Prospector's fit_model is taken and written alike."""
    _, model, obs, sps = run
    output = prospector_fit_model(
        obs, model, sps, nested_nlive_init=30, nested_maxcall_init=400, nested_maxbatch=0,
        nested_sample="rwalk", nested_walks=5, verbose=False, print_progress=False,
    )  # fmt: skip
    result = FitResult.from_run(output, model, obs, sps, status="budget: maxcall")
    assert result.info["status"] == "budget: maxcall"
    result.write(tmp_path / "p.h5")
    assert FitResult.read(tmp_path / "p.h5").logz == result.logz


def test_without_samples(run):
    with pytest.raises(DataError, match="no nested samples"):
        FitResult.from_run({"sampling": (None, 0.0)}, *run[1:])


# ---- files ----------------------------------------------------------------------------------


def test_round_trip_is_exact(result, written):
    again = FitResult.read(written)
    for name in ARRAYS:
        np.testing.assert_array_equal(getattr(again, name), getattr(result, name))
    for name in vars(result.photometry):
        np.testing.assert_array_equal(
            getattr(again.photometry, name), getattr(result.photometry, name)
        )
    for name in ("parameters", "logz", "logz_err", "truth", "info"):
        assert getattr(again, name) == getattr(result, name)


def test_prospector_opens_it(result, written, run):
    _, model, obs, _ = run
    res, stored, _ = results_from(str(written))
    np.testing.assert_array_equal(res["chain"], result.samples)
    assert res["theta_labels"] == model.theta_labels()
    assert [f.name for f in stored["filters"]] == [f.name for f in obs["filters"]]
    np.testing.assert_array_equal(stored["maggies_unc"], obs["maggies_unc"])
    assert res["run_params"]["seed"] == 1


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Prospector 1.4 needs the module imp")
@pytest.mark.parametrize("reader", [get_model, get_sps])
def test_prospectors_readers_of_parameter_files_say_what_is_missing(reader, written):
    """They ended with "module '' has no attribute 'build_sps'"."""
    res, _, _ = results_from(str(written))
    with pytest.raises(RuntimeError, match="holds no parameter file"):
        reader(res)


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="Prospector 1.4 needs the module imp")
def test_a_parameter_file_that_is_given_is_kept(run, tmp_path):
    output, model, obs, sps = run
    (tmp_path / "fit.py").write_text("def build_model(**kwargs):\n    return 'mine'\n")
    settings = {"param_file": str(tmp_path / "fit.py")}
    FitResult.from_run(output, model, obs, sps, settings=settings).write(tmp_path / "fit.h5")
    assert get_model(results_from(str(tmp_path / "fit.h5"))[0]) == "mine"


@pytest.mark.parametrize(
    "output",
    [
        {"optimization": (None, 0.0), "sampling": (SimpleNamespace(chain=1), 1.0)},
        {"optimization": (None, 0.0), "sampling": (None, 0.0)},
        {"optimization": (None, 0.0)},
        SimpleNamespace(chain=1),
    ],
    ids=["emcee", "none", "optimized", "sampler"],
)
def test_output_that_holds_no_nested_samples(output, run):
    _, model, obs, sps = run
    with pytest.raises(DataError, match="holds no nested samples; run fit_model with dynesty"):
        FitResult.from_run(output, model, obs, sps)


@pytest.mark.parametrize(("zred", "said"), [(0.05, True), (0.2, False)])
def test_stars_older_than_fspss_oldest_are_spoken_of(zred, said):
    """10**10.1 years are reached at z = 0.087; below it mass gives no light, as in FSPS."""
    notes = collect._oldest_stars(np.full(3, zred), None)
    assert ("older than FSPS's oldest stars (12.6 Gyr)" in " ".join(notes)) == said


def test_stored_best_fit_is_what_the_model_predicts(written, run):
    _, model, obs, sps = run
    res, _, _ = results_from(str(written))
    best = res["bestfit"]
    _, maggies, mfrac = model.predict(best["parameter"], obs=obs, sps=sps)
    # To rounding: BLAS may sum in another order where arrays lie otherwise in memory.
    np.testing.assert_allclose(best["photometry"], maggies, rtol=1e-12)
    assert best["mfrac"] == pytest.approx(mfrac, rel=1e-12)
    np.testing.assert_array_equal(best["parameter"], res["chain"][np.argmax(res["lnprobability"])])


def test_no_pickle_in_the_file(written):
    """Every attribute is JSON text and no dataset is opaque or of objects."""
    with h5py.File(written) as f:
        items = [f]
        f.visititems(lambda _, item: items.append(item))
        for item in items:
            for key, value in item.attrs.items():
                if (item.name, key) == ("/bestfit", "mfrac"):
                    continue  # a plain number
                json.loads(value)
            if isinstance(item, h5py.Dataset):
                assert item.dtype.kind in "fiub", item.name


def test_provenance(written):
    with h5py.File(written) as f:
        stored = {k: json.loads(v) for k, v in f["prospect_emu"].attrs.items()}
    info = stored["info"]
    assert info["emulator"] == "random" and info["libraries"] == "none" and info["inflated"]
    assert {"prospect_emu", "dynesty", "numpy", "astro-prospector"} <= set(info["versions"])
    assert stored["model"]["dust2"]["prior"] == "TruncatedNormal"
    assert stored["model"]["imf_type"] == {"value": 1}
    assert stored["constant"] == {"zred": 1.0}


def test_existing_file_is_refused(result, written):
    before = written.read_bytes()
    with pytest.raises(OutputError, match="exists already"):
        result.write(written)
    assert written.read_bytes() == before
    result.write(written, overwrite=True)


def test_failed_write_leaves_nothing(result, tmp_path):
    """A full disk in the middle: the old file stays, no debris, and no fault later.

    The kernel's limit on the size of a file stands for the full disk.
    """
    path = tmp_path / "p.h5"
    path.write_bytes(b"old")
    held = h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, hard))
    try:
        with pytest.raises(OutputError, match=r"Writing .* free space"):
            result.write(path, overwrite=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]
    # Nothing half-written stays in the HDF5 library, where it would end the process.
    assert h5py.h5f.get_obj_count(h5py.h5f.OBJ_ALL, h5py.h5f.OBJ_FILE) == held


def test_a_result_that_was_read_is_not_written(written):
    with pytest.raises(OutputError, match="copy the file"):
        FitResult.read(written).write(written.with_name("other.h5"))


@pytest.mark.parametrize("keep", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_truncated_file(written, keep):
    data = written.read_bytes()
    written.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(DataError) as err:
        FitResult.read(written)
    assert "truncated or damaged" in str(err.value) and "\n" not in str(err.value)


def test_damaged_file(written):
    with h5py.File(written, "a") as f:
        f["sampling/chain"][0, 0] += 1e-3
    with pytest.raises(DataError, match="fails its checksum"):
        FitResult.read(written)


def test_foreign_and_missing_files(tmp_path):
    with h5py.File(tmp_path / "x.h5", "w") as f:
        f.create_group("sampling")
    with pytest.raises(DataError, match="not written by prospect_emu"):
        FitResult.read(tmp_path / "x.h5")
    with pytest.raises(DataError, match="does not exist"):
        FitResult.read(tmp_path / "y.h5")


# ---- figures ----------------------------------------------------------------------------------


def test_sfr_at_a_time():
    """Against mean_sfr over the whole first bin, and the bins' masses over their lengths."""
    vectors = np.array([[TRUTH[p] for p in PARAMETERS]] * 2)
    vectors[1, PARAMETERS.index("zred")] = 2.0
    zred = vectors[:, PARAMETERS.index("zred")]
    masses = sfh.bin_masses(vectors[:, 0], vectors[:, 2:8], zred)
    first = plots.sfr_at(vectors, np.array([1e6]))[:, 0]
    # The youngest bin begins at 1 yr: a part in 1e6 of the first 1e6 yr is empty.
    np.testing.assert_allclose(first, sfh.mean_sfr(masses, zred, years=1e6), rtol=2e-6)
    middle = 10 ** sfh.agebins(1.0).mean(axis=1)
    expected = masses[0] / sfh.bin_durations(1.0)
    np.testing.assert_allclose(plots.sfr_at(vectors[:1], middle)[0], expected, rtol=1e-12)
    assert (plots.sfr_at(vectors, np.array([2e10])) == 0).all()  # before the beginning


def test_figures(result, tmp_path):
    figures = {
        "sed": plots.sed_figure(result),
        "ujy": plots.sed_figure(result, unit="uJy"),
        "sfh": plots.sfh_figure(result),
        "corner": plots.corner_figure(result, draws=300),
    }
    assert len(figures["corner"].axes) == 17**2
    for name, figure in figures.items():
        save_figure(figure, tmp_path / f"{name}.png", dpi=30)
        assert (tmp_path / f"{name}.png").read_bytes()[:4] == b"\x89PNG"
    labels = {ax.get_ylabel() for ax in figures["sed"].axes}
    assert "AB magnitude" in labels
    with pytest.raises(DataError, match="'mag' or 'uJy'"):
        plots.sed_figure(result, unit="erg")


def test_figures_leave_pyplot_alone(result):
    from matplotlib import pyplot

    before = pyplot.get_fignums()
    plots.sfh_figure(result)
    plots.corner_figure(result, draws=100)
    assert pyplot.get_fignums() == before


def test_sed_with_negative_and_missing_fluxes(result):
    p = result.photometry
    flux = p.maggies.copy()
    flux[0], flux[2] = -flux[0], np.nan  # band 2 is masked
    figure = plots.sed_figure(replace(result, photometry=replace(p, maggies=flux)))
    assert np.isfinite(figure.axes[0].get_ylim()).all()
