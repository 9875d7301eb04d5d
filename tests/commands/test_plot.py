"""`prospect-emu plot`: figures and pages from a result's file."""

import base64
import re

import pytest
from matplotlib.figure import Figure

import prospect_emu
from prospect_emu.commands import cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder as `prospect-emu fit` leaves it."""
    folder = tmp_path_factory.mktemp("galaxies") / "ngc 7"
    folder.mkdir()
    result = prospect_emu.fit(
        model="ssp", seed=1, nested_nlive_init=50, nested_walks=5, nested_maxbatch=0
    )
    result.write(folder / "posterior.h5")
    return folder


@pytest.mark.parametrize(("suffix", "head"), [("png", b"\x89PNG"), ("pdf", b"%PDF")])
def test_figures(folder, tmp_path, suffix, head, capsys):
    command = ["plot", str(folder), "--out", str(tmp_path), "--format", suffix]
    assert cli.main(command) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3
    for name in ("sed", "sfh", "corner"):
        assert (tmp_path / f"ngc 7-{name}.{suffix}").read_bytes().startswith(head)
    assert cli.main(command) == 2 and "exists already" in capsys.readouterr().err
    assert cli.main([*command, "--overwrite", "--figures", "sed"]) == 0


def test_corner_of_derived_quantities(folder, tmp_path, capsys):
    command = ["plot", str(folder), "--out", str(tmp_path), "--figures", "corner", "--parameters"]
    assert cli.main([*command, "log_stellar_mass", "mass_weighted_age", "dust2"]) == 0
    result = prospect_emu.FitResult.read(folder / "posterior.h5")
    figure = result.plot_corner(parameters=["log_stellar_mass", "dust2"], draws=200)
    assert len(figure.axes) == 4 and "M_*" in figure.axes[2].get_xlabel()
    capsys.readouterr()
    assert cli.main([*command, "age", "--overwrite"]) == 2
    err = capsys.readouterr().err
    assert "no age" in err and "mass_weighted_age" in err


def test_a_page_in_one_file(folder, monkeypatch):
    """It shows the summary's numbers, holds its figures, and loads nothing."""
    monkeypatch.setattr("prospect_emu.fit.plots.corner_figure", lambda result: Figure())
    assert cli.main(["plot", str(folder / "posterior.h5"), "--format", "html"]) == 0
    page = (folder / "ngc 7.html").read_text()
    median = prospect_emu.FitResult.read(folder / "posterior.h5").summary()["p50"][0]
    assert f"{median:.4g}" in page
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    assert len(images) == 3 and all(base64.b64decode(i).startswith(b"\x89PNG") for i in images)
    assert not re.search(r"https?://|<script|<link", page)


def test_what_is_no_result(tmp_path, capsys):
    (tmp_path / "x.h5").write_bytes(b"no HDF5")
    assert cli.main(["plot", str(tmp_path / "x.h5")]) == 2
    assert "x.h5" in capsys.readouterr().err
