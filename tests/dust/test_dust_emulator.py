"""The dust emulator and its command line, on a toy emulator with random weights."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest
from astropy.table import Table
from dust_toys import toy_dust

from prospect_emu.commands.cli import main
from prospect_emu.dust.dust_emulator import (
    DustEmulator,
    flux_density,
    list_dust_emulators,
    load_dust_emulator,
)
from prospect_emu.dust.tensor_net import MANY
from prospect_emu.errors import DataError, FilterError, ModelFileError, RangeError

MODELS = (np.array([0.1, 3.0, 1e5]), np.array([1e6, 3e8, 1e10]), np.array([0.4, 1.0, 10.0]))


@pytest.fixture(scope="module")
def toy():
    return toy_dust(inverse=True)


@pytest.fixture(scope="module")
def path(toy, tmp_path_factory):
    path = tmp_path_factory.mktemp("dust") / "toy.safetensors"
    toy.save(path)
    return path


def run(capsys, *args):
    code = main(["dust", *map(str, args)])
    return code, *capsys.readouterr()


def test_round_trip_is_exact(toy, path):
    again = DustEmulator.load(path)
    assert again.bands == toy.bands
    np.testing.assert_array_equal(again.spectrum(*MODELS), toy.spectrum(*MODELS))
    np.testing.assert_array_equal(again.photometry(*MODELS), toy.photometry(*MODELS))


def test_batches_equal_single_calls(toy):
    """To rounding, which depends on the batch."""
    many = toy.spectrum(*MODELS)
    for i in range(3):
        one = toy.spectrum(*(m[i] for m in MODELS))
        np.testing.assert_allclose(many[i], one, rtol=1e-12)
    shaped = toy.photometry(MODELS[0][:, None], MODELS[1], 0.5)
    assert shaped.shape == (3, 3, len(toy.bands))


def test_thousands_at_once_equal_one_by_one(toy):
    """Many samples take another way through the network: the same to rounding, in any order."""
    theta = np.random.default_rng(5).uniform(*toy.bounds.T, (2 * MANY, 3))
    theta[:3, 1] = 6.0, 10.0, toy.net.second_nodes[3]
    one_by_one = np.concatenate([toy.net(row[None]) for row in theta])
    np.testing.assert_allclose(toy.net(theta), one_by_one, rtol=1e-11)


def test_error_modes_survive_a_file(toy, tmp_path):
    modes = np.random.default_rng(6).normal(0, 1e-3, (3, toy.wavelengths.size)).astype("f4")
    dataclasses.replace(toy, error_modes=modes).save(tmp_path / "modes.safetensors")
    again = DustEmulator.load(tmp_path / "modes.safetensors")
    np.testing.assert_array_equal(again.error_modes, modes)
    dataclasses.replace(toy, error_modes=modes[:, 1:]).save(tmp_path / "bad.safetensors")
    with pytest.raises(ModelFileError, match="error modes"):
        DustEmulator.load(tmp_path / "bad.safetensors")


def test_starlight_is_linear_between_ages(toy):
    """ln emission half way between two ages of the table is the mean of theirs."""
    a, mid, b = toy.ln_spectrum(np.array([[0.0, 6.5, 0.0], [0.0, 6.75, 0.0], [0.0, 7.0, 0.0]]))
    np.testing.assert_allclose(mid, 0.5 * (a + b), rtol=1e-12)


def test_select_keeps_values_and_order(toy):
    names = ["band_4", "band_1"]
    part = toy.select(names)
    assert part.band_names == tuple(names)
    full = toy.photometry(*MODELS)
    np.testing.assert_allclose(part.photometry(*MODELS), full[:, [4, 1]], rtol=1e-6)
    np.testing.assert_allclose(toy.photometry(*MODELS, bands=names), full[:, [4, 1]], rtol=1e-6)


@pytest.mark.parametrize(
    ("values", "text"),
    [((1e8, 1e8, 1.0), "U = 1e+08"), ((1.0, 1e11, 1.0), "tau = 1e"), ((1.0, 1e8, 0.3), "a_min"),
     ((0.0, 1e8, 1.0), "U = 0"), ((np.nan, 1e8, 1.0), "U = nan"), ((-1.0, 1e8, 1.0), "U = -1")],
)  # fmt: skip
def test_outside_the_box_is_refused(toy, values, text):
    with pytest.raises(RangeError, match=text.replace("+", r"\+")):
        toy.spectrum(*values)


def test_unknown_band_suggests(toy):
    with pytest.raises(FilterError, match="did you mean band_"):
        toy.photometry(1.0, 1e8, 1.0, bands=["band4"])
    with pytest.raises(FilterError, match="twice"):
        toy.select(["band_1", "band_1"])


def test_missing_and_foreign_files(tmp_path, toy_emulator):
    with pytest.raises(ModelFileError, match="no dust emulator"):
        load_dust_emulator(tmp_path / "none.safetensors")
    other = tmp_path / "galaxy.safetensors"
    toy_emulator.save(other)
    with pytest.raises(ModelFileError, match="dust emulator"):
        load_dust_emulator(other)
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(other.read_bytes()[:1000])
    with pytest.raises(ModelFileError, match="truncated"):
        load_dust_emulator(torn)


def test_inconsistent_file_is_refused(toy, tmp_path):
    import dataclasses

    bad = dataclasses.replace(toy, band_error=np.zeros(2))
    bad.save(tmp_path / "bad.safetensors")
    with pytest.raises(ModelFileError, match="inconsistent"):
        load_dust_emulator(tmp_path / "bad.safetensors")


def test_flux_density():
    # One W/Hz/kg of 1 Msun at 1 Mpc: Msun / (4 pi Mpc^2) / 1e-26 Jy.
    assert flux_density(1.0, 1.0, 1.0) == pytest.approx(
        1.98841e30 / (4 * np.pi * 3.0856775814913673e22**2) * 1e26, rel=1e-12
    )


# ---- the command line ------------------------------------------------------------


def test_spectrum_to_standard_output_and_files(toy, path, tmp_path, capsys):
    model = ("--U", 3, "--tau", 3e8, "--a-min", 1.0, "--emulator", path)
    code, out, _ = run(capsys, "spectrum", *model)
    assert code == 0
    expected = toy.spectrum(3.0, 3e8, 1.0)
    table = Table.read(out, format="ascii.ecsv")
    np.testing.assert_array_equal(table["luminosity"], expected)
    assert str(table["luminosity"].unit) == "W / (Hz kg)"
    for name in ("a.ecsv", "a.fits", "a.csv", "a.png"):
        assert run(capsys, "spectrum", *model, "--out", tmp_path / name)[0] == 0
    np.testing.assert_array_equal(Table.read(tmp_path / "a.fits")["luminosity"], expected)
    np.testing.assert_array_equal(Table.read(tmp_path / "a.csv")["luminosity"], expected)
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    code, _, err = run(capsys, "spectrum", *model, "--out", tmp_path / "a.ecsv")
    assert code == 2 and "exists already" in err


def test_table_of_models_with_units(toy, path, tmp_path, capsys):
    table = Table({"U": [1.0, 10.0], "tau": [0.3, 1.0], "a_min": [4.0, 20.0]})
    table["tau"].unit, table["a_min"].unit = "Gyr", "Angstrom"
    table.write(tmp_path / "models.ecsv")
    code, out, _ = run(
        capsys, "photometry", tmp_path / "models.ecsv", "--emulator", path, "--mass", 1e7,
        "--distance", 3.0, "--bands", "band_2",
    )  # fmt: skip
    assert code == 0
    got = Table.read(out, format="ascii.ecsv")
    expected = toy.photometry([1.0, 10.0], [3e8, 1e9], [0.4, 2.0], bands=["band_2"])[:, 0]
    np.testing.assert_allclose(got["band_2"], flux_density(expected, 1e7, 3.0), rtol=1e-6)
    assert str(got["band_2"].unit) == "Jy"


def test_band_list(path, capsys):
    code, out, _ = run(capsys, "photometry", "--list", "--emulator", path)
    assert code == 0 and "band_5" in out and "flat" in out


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (("spectrum", "--U", 1), "--tau"),
        (("spectrum", "--U", 1e9, "--tau", 1e8, "--a-min", 1), "training box"),
        (("spectrum", "--U", 1, 2, "--tau", 1e8, 1e9, 1e7, "--a-min", 1), "equally many"),
        (("spectrum", "--U", 1, "--tau", 1e8, "--a-min", 1, "--mass", 1), "--distance"),
        (("photometry", "--U", 1, "--tau", 1e8, "--a-min", 1, "--bands", "x"), "knows no band"),
        (("spectrum", "--U", 1, "--tau", 1e8, "--a-min", 1, "--out", "a.txt"), "ending"),
        (("spectrum", "no-such-table.ecsv"), "Cannot read"),
    ],
)
def test_bad_arguments_give_one_sentence(path, capsys, args, text):
    code, out, err = run(capsys, *args, "--emulator", path)
    assert code == 2 and text in err and err.count("\n") == 1 and not out


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("U,tau\n1,1e8\n", "no column a_min"),
        ("U,tau,a_min\n1,1e8,abc\n", "text where a number"),
        ("U,tau,a_min\n1,1e8,\n", "missing in row 1"),
        ("U,tau [kg],a_min\n1,1e8,1\n", "unit 'kg'"),
        ("U,tau,a_min\n", "no rows"),
        ("", "no rows"),
    ],
)
def test_bad_tables_give_one_sentence(path, tmp_path, capsys, content, text):
    file = tmp_path / "models.csv"
    file.write_text(content)
    code, _, err = run(capsys, "spectrum", file, "--emulator", path)
    assert code == 2 and text in err and err.count("\n") == 1


def test_bad_observations_give_one_sentence(path, tmp_path, capsys):
    cases = {
        "band,flux,error\nband_1,1,0.1\n": "--mass and --distance",
        "band,luminosity\nband_1,1\n": "needs the columns",
        "luminosity,error\n1,0.1\n": "column band or wavelength",
        "band,luminosity,error\nnowhere,1e-18,1e-19\n": "knows no band",
        "wavelength,luminosity,error\n5000,1e-18,1e-19\n": "is the unit micron",
        "band,luminosity [mag],error\nband_1,1,0.1\n": "unit 'mag'",
        "band,luminosity,error\nband_1,-1e-18,1e-19\n": "No value is positive",
    }
    for i, (content, text) in enumerate(cases.items()):
        file = tmp_path / f"{i}.csv"
        file.write_text(content)
        code, _, err = run(capsys, "invert", file, "--emulator", path, "--quiet")
        assert code == 2 and text in err and err.count("\n") == 1, (content, err)


@pytest.mark.parametrize("spectrum", [False, True])
def test_network_inversion_and_its_table(toy, path, tmp_path, capsys, spectrum, monkeypatch):
    monkeypatch.setattr("prospect_emu.dust.dust_network.MISFIT", 1e30)  # the toy's net is untrained
    if spectrum:
        column, where = "wavelength", {"wavelengths": toy.wavelengths}
        values = toy.spectrum(10.0, 1e8, 1.0)
    else:
        column, where = "band", {"bands": toy.band_names}
        values = toy.photometry(10.0, 1e8, 1.0)
    points = next(iter(where.values()))
    table = Table({column: points, "luminosity": values, "error": 0.1 * values})
    table.write(tmp_path / "obs.ecsv")
    code, out, _ = run(
        capsys, "invert", tmp_path / "obs.ecsv", "--emulator", path, "--method", "network",
        "--out", tmp_path / "est.ecsv",
    )  # fmt: skip
    assert code == 0 and "a_min" in out
    from prospect_emu.dust.dust_network import estimate

    mean, _ = estimate(toy, values, 0.1 * values, **where)
    got = Table.read(tmp_path / "est.ecsv")
    np.testing.assert_allclose(got["median"], 10.0**mean, rtol=1e-12)
    for words in (["--free-mass"], ["--seed", "0"], ["--max-seconds", "3"]):
        code, _, err = run(
            capsys, "invert", tmp_path / "obs.ecsv", "--emulator", path, "--method", "network",
            *words,
        )  # fmt: skip
        assert code == 2 and "knows neither a free mass nor samples, seed or budget" in err


def test_many_models_in_fits(toy, path, tmp_path, capsys):
    """A row per model, with its spectrum, the wavelengths beside it, and where it is from."""
    models = tmp_path / "models.csv"
    models.write_text("U,tau,a_min\n" + "".join(f"{u},1e8,1\n" for u in range(1, 1201)))
    out = tmp_path / "spectra.fits"
    assert run(capsys, "spectrum", models, "--emulator", path, "--out", out)[0] == 0
    table = Table.read(out, hdu=1)
    np.testing.assert_allclose(table["luminosity"], toy.spectrum(np.arange(1, 1201), 1e8, 1.0))
    np.testing.assert_array_equal(table["U"], np.arange(1, 1201))
    np.testing.assert_array_equal(Table.read(out, hdu=2)["wavelength"], toy.wavelengths)
    assert table.meta["EMULATOR"] == "toy"


@pytest.mark.parametrize("unit", ["Jy", "W/Hz"])
def test_inversion_finds_the_mass(toy, path, tmp_path, capsys, unit):
    """1e7 solar masses at 10 Mpc, from their fluxes or luminosities of 3 %."""
    values = toy.photometry(10.0, 1e8, 1.0)
    values = flux_density(values, 1e7, 10.0) if unit == "Jy" else 1e7 * 1.98841e30 * values
    name = "flux" if unit == "Jy" else "luminosity"
    file = tmp_path / "obs.csv"
    rows = zip(toy.band_names, values, strict=True)
    lines = [f"band,{name} [{unit}],error", *(f"{b},{v!r},{0.03 * v!r}" for b, v in rows)]
    file.write_text("\n".join(lines).replace("np.float64(", "").replace(")", ""))
    words = ["invert", file, "--emulator", path, "--free-mass", "--quiet"]
    words += ["--distance", 10] if unit == "Jy" else []
    out, samples = tmp_path / "summary.ecsv", tmp_path / "samples.fits"
    code, text, err = run(capsys, *words, "--out", out, "--samples", samples)
    assert code == 0, err
    assert "of 6 points, converged" in text
    row = Table.read(out)[3]
    assert row["parameter"] == "mass" and row["p2.5"] < 1e7 < row["p97.5"]
    assert np.median(Table.read(samples)["log10_mass"]) == pytest.approx(np.log10(row["median"]))
    code, _, err = run(capsys, *words, "--mass", 1e7)
    assert code == 2 and "leave --mass out" in err
    if unit == "W/Hz":
        code, _, err = run(capsys, *words, "--distance", 10)
        assert code == 2 and "--distance is for fluxes" in err


def test_luminosities_need_no_distance(toy, path, tmp_path, capsys):
    file = tmp_path / "obs.csv"
    file.write_text("band,luminosity,error\nband_1,1e-3,1e-4\n")
    words = ["invert", file, "--emulator", path, "--quiet", "--mass", 1e7, "--distance", 10]
    code, _, err = run(capsys, *words)
    assert code == 2 and "need no --mass and --distance" in err


def test_a_truncated_fits_table_gives_one_sentence(path, tmp_path, capsys, recwarn):
    models = Table({"U": np.ones(400), "tau": np.full(400, 1e8), "a_min": np.ones(400)})
    models.write(tmp_path / "whole.fits")
    torn = tmp_path / "torn.fits"
    torn.write_bytes((tmp_path / "whole.fits").read_bytes()[:7000])
    code, _, err = run(capsys, "spectrum", torn, "--emulator", path)
    assert code == 2 and "torn.fits" in err and err.count("\n") == 1 and not recwarn.list


def test_bands_by_name(toy):
    """Some bands are those of all; a single name is a band, too."""
    some = toy.photometry(*MODELS, bands=["band_4", "band_1"])
    np.testing.assert_array_equal(some, toy.photometry(*MODELS)[:, [4, 1]])
    np.testing.assert_array_equal(toy.photometry(*MODELS, bands="band_1"), some[:, 1:])
    with pytest.raises(DataError, match="do not fit together"):
        toy.photometry([1, 2], [1e8, 1e8, 1e8], 1.0)


def test_the_command_needs_no_heavy_imports(path):
    """torch, fsps, numba, astropy, Prospector and sedpy stay out of a spectrum's way."""
    code = (
        "import sys; from prospect_emu.commands.cli import main; "
        f"main(['dust', 'spectrum', '--U', '1', '--tau', '1e8', '--a-min', '1', "
        f"'--emulator', {str(path)!r}, '--out', {str(path.parent / 'x.ecsv')!r}, '--overwrite']); "
        "heavy = {'torch', 'fsps', 'numba', 'astropy', 'prospect', 'sedpy', 'scipy', 'matplotlib'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=path.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_bundled_emulators_load():
    for name in list_dust_emulators():
        assert load_dust_emulator(name).net.widths[0] == 3


def test_estimate_needs_the_whole_emulator(toy):
    from prospect_emu.dust.dust_network import estimate

    with pytest.raises(DataError, match="inverse network"):
        estimate(toy.select(["band_1"]), [1.0], [0.1], ["band_1"])
