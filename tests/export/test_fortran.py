"""Exported Fortran: compiled with gfortran and compared with Python.

To 1e-6. Both compute dust in double precision (found: 1e-13). A galaxy emulator's hidden layers
are single precision in Python and double in Fortran, which is therefore compared with the same
Python code on weights cast to double.
"""

import dataclasses
import shutil
import subprocess

import numpy as np
import pytest
from dust_toys import toy_dust

from prospect_emu import load_emulator
from prospect_emu.commands.cli import main
from prospect_emu.dust.dust_network import estimate
from prospect_emu.errors import OutputError, SetupError
from prospect_emu.export.fortran import export_fortran
from prospect_emu.networks.network_inputs import ALL, PLAIN
from prospect_emu.networks.stitched import stitch
from prospect_emu.networks.vector import PARAMETERS

ZRED = PARAMETERS.index("zred")

needs_compiler = pytest.mark.skipif(
    not (shutil.which("gfortran") and shutil.which("make")),
    reason="gfortran and make are not installed",
)


def double(net):
    """The same network in double precision."""
    return dataclasses.replace(
        net,
        weights=tuple(w.astype(float) for w in net.weights),
        biases=tuple(b.astype(float) for b in net.biases),
    )


def exact(emulator):
    """A network emulator in double precision."""
    return dataclasses.replace(
        emulator, flux_net=double(emulator.flux_net), mfrac_net=double(emulator.mfrac_net)
    )


def compiled(emulator, folder):
    export_fortran(emulator, folder)
    done = subprocess.run(["make", "example"], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0 and "Warning" not in done.stderr, done.stderr
    return folder / "example"


def run(program, theta, *args):
    text = "\n".join(" ".join(f"{v:.17g}" for v in row) for row in theta)
    done = subprocess.run(
        [program, *args], cwd=program.parent, input=text, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return np.array([line.split() for line in done.stdout.splitlines()], dtype=float)


@pytest.fixture(scope="module")
def dust():
    return toy_dust()


@pytest.fixture(scope="module")
def dust_program(dust, tmp_path_factory):
    return compiled(dust, tmp_path_factory.mktemp("fortran"))


def models(emulator, n=300, seed=1):
    rng = np.random.default_rng(seed)
    theta = rng.uniform(*emulator.bounds.T, (n, 3))
    theta[0], theta[1] = emulator.bounds.T  # the corners of the box
    return 10.0**theta


@needs_compiler
@pytest.mark.parametrize("how", ["batch", "single"])
@pytest.mark.parametrize("what", ["spectrum", "photometry"])
def test_dust(dust, dust_program, what, how):
    theta = models(dust)
    got = run(dust_program, theta, what, how)
    np.testing.assert_allclose(got, getattr(dust, what)(*theta.T), rtol=1e-6)


@needs_compiler
def test_outside_the_box_is_nan(dust_program):
    got = run(dust_program, [[1.0, 1e8, 1.0], [1e8, 1e8, 1.0], [1.0, 1e8, -1.0]], "photometry")
    assert np.isfinite(got[0]).all() and np.isnan(got[1:]).all()


@needs_compiler
def test_dust_estimates(tmp_path, monkeypatch):
    """The inverse network; bands that are negative, faint, or known worse than to 30 %, are out.

    Its answers, of an untrained net, are as far off as the limit: some are NaN.
    """
    for module in ("export.fortran", "dust.dust_network"):
        monkeypatch.setattr(f"prospect_emu.{module}.MISFIT", 1e3)
    toy = toy_dust(inverse=True)
    python = dataclasses.replace(toy, inverse=double(toy.inverse))
    program = compiled(toy, tmp_path)
    rng = np.random.default_rng(3)
    flux = toy.photometry(*models(toy, 50).T)
    error = flux * rng.uniform(0.0, 0.4, flux.shape)
    error[:, 0] = 0.1 * flux[:, 0]
    flux[::5, 1] *= -1.0
    error[::5, 1] *= -1.0
    flux[::4, 2] = 3e-6 * flux[::4].max(axis=1)
    error = np.abs(error)
    error[::4, 2] = 0.1 * flux[::4, 2]
    got = run(program, np.hstack([flux, error]), "estimate")
    want = np.hstack(estimate(python, flux, error, toy.band_names))
    assert 5 < np.isnan(want[:, 0]).sum() < 45
    np.testing.assert_allclose(got, want, rtol=1e-6)
    none = run(program, np.hstack([flux, 2.0 * np.abs(flux)])[:1], "estimate")
    assert np.isnan(none).all()


@needs_compiler
def test_dust_bands_without_an_inverse(dust, tmp_path):
    """A selection of bands has no inverse network: its estimates are NaN, the rest is there."""
    names = dust.band_names[2:4]
    dust.save(tmp_path / "dust.safetensors")
    words = ["export", "--fortran", str(tmp_path / "dust.safetensors"), "--bands", *names]
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert subprocess.run(["make", "example"], cwd=tmp_path, capture_output=True).returncode == 0
    got = run(tmp_path / "example", models(dust), "photometry")
    want = dust.photometry(*models(dust).T, bands=names)
    np.testing.assert_allclose(got, want, rtol=1e-6)
    assert np.isnan(run(tmp_path / "example", [[1.0, 1.0, 0.1, 0.1]], "estimate")).all()


GUARDS = """
program guards
  use @MODULE@
  implicit none
  type(emulator) :: emu
  integer :: status
  character(200) :: message
  print *, all(isnan(photometry(emu, 1.0_dp, 1e8_dp, 1.0_dp)))
  call load(emu, '@FILE@', status, message)
  print *, all(isnan(spectrum(emu, [1.0_dp, 2.0_dp], [1e8_dp], [1.0_dp])))
  print *, any(isnan(spectrum(emu, [1.0_dp], [1e8_dp], [1.0_dp])))
end program guards
"""


@needs_compiler
def test_dust_calls_that_cannot_be_answered(dust_program):
    """Before load, and for arrays of unequal length: NaN, and no crash."""
    module = next(dust_program.parent.glob("emu_*.f90")).stem
    text = GUARDS.replace("@MODULE@", module).replace("@FILE@", f"{module}.bin")
    (dust_program.parent / "guards.f90").write_text(text)
    command = ["gfortran", "-fcheck=all", f"{module}.f90", "guards.f90", "-o", "guards"]
    subprocess.run(command, cwd=dust_program.parent, check=True, capture_output=True)
    done = subprocess.run(["./guards"], cwd=dust_program.parent, capture_output=True, text=True)
    assert done.stdout.split() == ["T", "T", "F"], done.stderr


@needs_compiler
def test_the_example_says_which_line_is_bad(dust_program):
    done = subprocess.run(
        [dust_program], cwd=dust_program.parent, input="1 1e8 1\njunk\n", text=True,
        capture_output=True,
    )  # fmt: skip
    assert done.returncode == 1 and "Line 2 is no model" in done.stderr


def galaxies(emulator, n=150, seed=2):
    """Random vectors; corners of the box; redshifts at and near its ends."""
    rng = np.random.default_rng(seed)
    low, high = emulator.bounds.T
    theta = rng.uniform(low, high, (n, low.size))
    theta[0], theta[1] = low, high
    theta[2:20] = np.where(rng.random((18, low.size)) < 0.5, low, high)
    ends = low[ZRED] + (high - low)[ZRED] * np.array([0.0, 1e-9, 1e-4, 0.9999, 1.0])
    theta[20:40, ZRED] = np.tile(ends, 4)
    return theta


@needs_compiler
@pytest.mark.parametrize("inputs", [PLAIN, ALL])
def test_galaxy(make_emulator, tmp_path, inputs):
    emulator = make_emulator(inputs=inputs)
    program = compiled(emulator, tmp_path)
    theta = galaxies(emulator)
    for how in ("batch", "single"):
        got = run(program, theta, how)
        # The cosmology is the package's own spline: no error of its own.
        python = exact(emulator)
        np.testing.assert_allclose(got[:, :-1], python.maggies(theta), rtol=1e-6, atol=1e-25)
        np.testing.assert_allclose(got[:, -1], python.mfrac(theta), rtol=1e-6)


@needs_compiler
def test_stitched(make_emulator, tmp_path):
    domains = np.array([[0.01, 2.25], [1.75, 4.25], [3.75, 6.25]])
    parts = []
    for i, domain in enumerate(domains):
        part = make_emulator(seed=i, inputs=ALL if i == 1 else PLAIN)
        bounds = part.bounds.copy()
        bounds[ZRED] = domain
        parts.append(dataclasses.replace(part, name=f"part-{i}", bounds=bounds))
    stitched = stitch("toy", parts)
    program = compiled(stitched, tmp_path)
    theta = galaxies(stitched, 400)
    theta[40:100, ZRED] = np.repeat(np.linspace(1.75, 2.25, 31), 2)[:60]
    theta[100 : 100 + domains.size, ZRED] = domains.ravel()
    python = dataclasses.replace(stitched, parts=tuple(map(exact, parts)))
    for how in ("batch", "single"):
        got = run(program, theta, how)
        np.testing.assert_allclose(got[:, :-1], python.maggies(theta), rtol=1e-6, atol=1e-25)
        np.testing.assert_allclose(got[:, -1], python.mfrac(theta), rtol=1e-6)


@pytest.fixture(scope="module")
def factored():
    return load_emulator("mathews23-factored")


@pytest.fixture(scope="module")
def factored_program(factored, tmp_path_factory):
    return compiled(factored, tmp_path_factory.mktemp("fortran"))


def same_light(got, want, atol=1e-100):
    # Below 1e-100 maggies, as in bands behind all of the intergalactic gas, products
    # of transmission and light lose their digits on the way to the smallest numbers.
    # The gas is interpolated in Python, in Fortran a polynomial of seven nodes: 1.2e-5 in few
    # bands and pixels of faint gas, 1e-6 elsewhere (measured); FSPS is met to 1e-4.
    np.testing.assert_allclose(got, want, rtol=2e-5, atol=atol)


@needs_compiler
@pytest.mark.parametrize("how", ["batch", "single"])
def test_factored_at_any_redshift(factored, factored_program, how):
    theta = galaxies(factored)
    got = run(factored_program, theta, how)
    same_light(got[:, :-1], factored.maggies(theta))
    np.testing.assert_allclose(got[:, -1], factored.mfrac(theta), rtol=1e-6)


@needs_compiler
@pytest.mark.parametrize("zred", [0.01, 1.1, 12.0])
def test_factored_prepared(factored, factored_program, zred):
    theta = galaxies(factored, 60)
    theta[:, ZRED] = zred
    theta[-1, ZRED] = 3.0
    got = run(factored_program, theta, "prepared")[:, :-1]
    # So few rows of one redshift are not folded in Python: whole spectra in both.
    same_light(got[:-1], factored.maggies(theta[:-1]))
    assert np.isnan(got[-1]).all()


@needs_compiler
def test_factored_spectrum(factored, factored_program):
    theta = galaxies(factored, 40)
    # The first pixel, at 100 A, lies 12 powers of ten below the next: there the two
    # interpolations of gas differ by the rounding of terms that cancel (1e-43 Lsun/Hz, measured).
    same_light(run(factored_program, theta, "spectrum"), factored.spectrum(theta), atol=1e-40)


@needs_compiler
def test_selected_bands(factored, tmp_path):
    some = factored.select(("wfc3_ir_f160w", "galex_NUV", "spitzer_mips_24"))
    theta = galaxies(factored, 50)
    same_light(run(compiled(some, tmp_path), theta)[:, :-1], some.maggies(theta))


@needs_compiler
def test_outside_the_box_says_why(factored, factored_program):
    theta = galaxies(factored, 50)[40:43]
    theta[0, ZRED], theta[1, 0] = 12.5, np.nan
    text = "\n".join(" ".join(map(str, row)) for row in theta)
    done = subprocess.run(
        [factored_program], cwd=factored_program.parent, input=text, capture_output=True, text=True
    )
    lines = done.stdout.splitlines()
    assert ["NaN" in line for line in lines] == [True, True, False]
    assert "zred = 12.5000 lies outside the training box" in done.stderr
    assert "logmass = NaN lies outside" in done.stderr
    done = subprocess.run(
        [factored_program, "prepared"], cwd=factored_program.parent, input=text,
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode != 0 and "zred = 12.5000 lies outside" in done.stdout


MISUSE = """
program misuse
  use emu_{name}
  type(emulator) :: emu
  integer :: status
  character(200) :: message
  real(dp) :: theta(nparam + 1, 2)
  theta = 1.0_dp
  write (*, '(a)') merge('NaN', 'bad', all(isnan(maggies(emu, theta(:nparam, 1)))))
  call check(emu, theta(:nparam, 1), status, message)
  write (*, '(a)') trim(message)
  call load(emu, 'emu_{name}.bin', status, message)
  write (*, '(a)') merge('NaN', 'bad', all(isnan(maggies(emu, theta))))
  write (*, '(a)') merge('NaN', 'bad', all(isnan(maggies(emu, theta(:3, 1)))))
  write (*, '(a)') merge('NaN', 'bad', all(isnan(mfrac(emu, theta(:3, :)))))
  call check(emu, theta(:3, 1), status, message)
  write (*, '(a)') trim(message)
end program misuse
"""


@needs_compiler
@pytest.mark.parametrize("kind", ["factored", "galaxy"])
def test_misuse_is_nan_and_says_why(kind, toy_emulator, factored, tmp_path):
    emulator = factored.select(("galex_NUV",)) if kind == "factored" else toy_emulator
    program = compiled(emulator, tmp_path)
    name = emulator.name.replace("-", "_")
    (tmp_path / "misuse.f90").write_text(MISUSE.format(name=name))
    command = ["gfortran", "-fcheck=all", "-o", "misuse", "misuse.f90", f"emu_{name}.f90"]
    subprocess.run(command, cwd=tmp_path, check=True)
    done = subprocess.run(["./misuse"], cwd=program.parent, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    assert [line for line in lines if line == "NaN"] == ["NaN"] * 4, done.stderr
    assert lines[1] == "The emulator holds no weights; call load first."
    assert lines[-1] == "A parameter vector has 18 values; got 3."


@needs_compiler
def test_weights_of_another_module_are_refused(dust, dust_program, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(dust_program.parent, folder)
    weights = folder / "emu_toy.bin"
    whole = weights.read_bytes()
    export_fortran(toy_dust(seed=5), tmp_path / "fresh")
    middle = len(whole) // 2
    cases = {
        "does not belong": (tmp_path / "fresh" / "emu_toy.bin").read_bytes(),
        "truncated": whole[:middle],
        "damaged": whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :],
        "Cannot open": None,
    }
    for text, data in cases.items():
        weights.unlink() if data is None else weights.write_bytes(data)
        done = subprocess.run(
            [folder / "example"], cwd=folder, input="", capture_output=True, text=True
        )
        assert done.returncode != 0 and text in done.stdout


def test_command_line_and_overwrite(dust, tmp_path, capsys):
    file = tmp_path / "toy.safetensors"
    dust.save(file)
    args = ["export", "--fortran", str(file), "--out", str(tmp_path / "f")]
    assert main(args) == 0
    assert "emu_toy.f90" in capsys.readouterr().out
    assert main(args) == 2
    assert "exists already" in capsys.readouterr().err
    with pytest.raises(OutputError):
        export_fortran(dust, tmp_path / "f")


def test_bands_on_the_command_line(dust, tmp_path, capsys):
    args = ["export", "--fortran", "mathews23-64", "--bands", "galex_NUV", "--out", str(tmp_path)]
    assert main(args) == 0
    assert "nband = 1," in (tmp_path / "emu_mathews23_64.f90").read_text()
    file = tmp_path / "toy.safetensors"
    dust.save(file)
    args[2] = str(file)
    assert main(args) == 2
    assert "knows no band 'galex_NUV'" in capsys.readouterr().err


def test_other_kinds_are_refused(tmp_path):
    with pytest.raises(SetupError, match="no Fortran form"):
        export_fortran(object(), tmp_path)
