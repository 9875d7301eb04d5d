"""Exported Fortran: compiled with gfortran and compared with Python.

To 1e-6. Both compute dust in double precision (found: 1e-13). A galaxy emulator's hidden layers
are single precision in Python and double in Fortran, which is therefore compared with the same
Python code on weights cast to double.
"""

import dataclasses
import runpy
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from prospect_emu.cli import main
from prospect_emu.errors import OutputError, SetupError
from prospect_emu.fortran import export_fortran

toy_dust = runpy.run_path(str(Path(__file__).with_name("dust_toys.py")))["toy_dust"]

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
def test_galaxy(toy_emulator, tmp_path):
    program = compiled(toy_emulator, tmp_path)
    rng = np.random.default_rng(2)
    theta = rng.uniform(*toy_emulator.bounds.T, (200, 18))
    exact = dataclasses.replace(
        toy_emulator,
        flux_net=double(toy_emulator.flux_net),
        mfrac_net=double(toy_emulator.mfrac_net),
    )
    for how in ("batch", "single"):
        got = run(program, theta, how)
        # The cosmology is the package's own spline: no error of its own.
        np.testing.assert_allclose(got[:, :-1], exact.maggies(theta), rtol=1e-6, atol=1e-25)
        np.testing.assert_allclose(got[:, -1], exact.mfrac(theta), rtol=1e-6)


@needs_compiler
def test_weights_of_another_module_are_refused(dust, dust_program, tmp_path):
    folder = tmp_path / "other"
    shutil.copytree(dust_program.parent, folder)
    weights = folder / "emu_toy.bin"
    whole = weights.read_bytes()
    export_fortran(toy_dust(seed=5), tmp_path / "fresh")
    weights.write_bytes((tmp_path / "fresh" / "emu_toy.bin").read_bytes())
    cases = {"does not belong": None, "truncated": whole[: len(whole) // 2], "Cannot open": b""}
    for text, data in cases.items():
        if data:
            weights.write_bytes(data)
        elif data == b"":
            weights.unlink()
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


def test_other_kinds_are_refused(tmp_path):
    with pytest.raises(SetupError, match="no Fortran form"):
        export_fortran(object(), tmp_path)
