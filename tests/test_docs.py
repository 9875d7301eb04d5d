"""The documentation points at files that exist, its Python runs, and its commands are commands."""

import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from prospect_emu.commands import cli

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.py"))
# Pages whose Python needs files that are not here or minutes of computing; other tests run it.
ELSEWHERE = {
    "certificate.md": "tests/fit/test_certificate.py",
    "swapping-sps.md": "tests/prospector/test_drop_in.py (Prospector's own fit takes an hour)",
    "prospector2.md": "tests/prospector/test_v2.py, where Prospector 2 is installed",
    "stitched.md": "tests/networks/test_stitched.py",
    "gradients.md": "tests/training/test_gradients.py",
    "dust.md": "tests/training/test_dust_engine.py, test_dust_templates.py; test_dust_emulator.py",
}


def blocks(page, language):
    found = re.findall(rf"^( *)```{language}\n(.*?)^ *```", page.read_text(), re.S | re.M)
    return [
        "".join(line[len(indent) :] for line in text.splitlines(True)) for indent, text in found
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_links_exist(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_every_page_is_in_the_menu():
    menu = (ROOT / "mkdocs.yml").read_text()
    assert all(page.name in menu for page in [*PAGES[1:], *TUTORIALS])


def test_what_gotchas_name_is_tested():
    """Every test that the page names is there."""
    sources = "".join(p.read_text() for p in (ROOT / "tests").rglob("test_*.py"))
    page = (ROOT / "docs" / "gotchas.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| ") and "| test |" not in line]
    assert len(rows) > 40
    for name in re.findall(r"`(test_\w+)`", page):
        assert f"def {name}(" in sources, name
    for path in re.findall(r"`(tests/[\w/]+\.py)`", page):
        assert (ROOT / path).exists(), path


def test_scripts_that_pages_name_exist():
    """Of the repository: every `benchmarks/...py` of a page."""
    for page in PAGES:
        for path in re.findall(r"benchmarks/\w+\.\w+", page.read_text()):
            assert (ROOT / path).exists(), (page.name, path)


@pytest.fixture
def work(tmp_path, monkeypatch):
    """A folder with the files that the pages name, and short fits."""
    from prospect_emu.fit import fitting, one_galaxy
    from prospect_emu.fit.one_galaxy import mock_galaxy
    from prospect_emu.observe.table_files import write_table
    from prospect_emu.observe.tables import photometry_table, read_photometry

    monkeypatch.chdir(tmp_path)
    table = photometry_table(read_photometry(mock_galaxy()))
    write_table(table, "table.ecsv")
    table.write("table.csv", format="ascii.csv")
    text = Path("table.csv").read_text().replace("flux,error", "flux [mgy],error [mgy]", 1)
    Path("table.csv").write_text(text)
    full = fitting.fit_model

    def short(*args, **kwargs):
        quick = {"nested_nlive_init": 40, "nested_walks": 5, "nested_maxcall": 2000,
                 "nested_maxbatch": 0, "progress": False}  # fmt: skip
        return full(*args, **(kwargs | quick))

    monkeypatch.setattr(fitting, "fit_model", short)
    monkeypatch.setattr(one_galaxy, "fit_model", short)
    return tmp_path


def names(work):
    """What the pages' short pieces of Python take as given: a script's obs, model and sps."""
    from prospect.models import SpecModel

    import prospect_emu
    from prospect_emu.fit.fitting import fit_model
    from prospect_emu.observe.tables import read_photometry
    from prospect_emu.prospector.templates import template_model

    obs = read_photometry(work / "table.ecsv")
    model, _ = template_model("ssp", obs["zred"])
    assert isinstance(model, SpecModel)
    vector = [10.5, -0.4, *[0.0] * 6, 0.6, -0.3, 1.1, -2.0, 1.2, -0.4, 1.0, 2.5, 3.0, -2.1]
    return {"obs": obs, "model": model, "fit_model": fit_model, "theta": np.array([vector]),
            "load_emulator": prospect_emu.load_emulator, "EmulatorSPS": prospect_emu.EmulatorSPS,
            "sps": prospect_emu.EmulatorSPS()}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The fit ended early")
@pytest.mark.filterwarnings("ignore:nested_sample")
@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_python_runs(page, work, shared):
    """Blocks of a page one after the other, as a reader would type them."""
    if page.name in ELSEWHERE:
        pytest.skip(f"run by {ELSEWHERE[page.name]}")
    given = names(work)
    (work / "3dhst").symlink_to(shared / "3dhst")
    for text in blocks(page, "python"):
        exec(compile(text, page.name, "exec"), given)


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_commands_parse(page):
    """Options and sub-commands exist; nothing is run."""
    parser = cli.build_parser()
    for text in blocks(page, "sh"):
        for line in text.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True)
            if words and words[0].endswith("prospect-emu"):
                args, unknown = parser.parse_known_args(words[1:])
                assert not unknown or getattr(args, "takes_unknown", False), line
