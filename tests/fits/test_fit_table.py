"""The campaign page's table sorts and filters: tried in a browser where there is one."""

import re
import shutil
import subprocess

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from prospect_emu.fits.fit_table import fit_table

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture
def table():
    mass = MaskedColumn([10.5, 9.25, np.nan, 11.0], mask=[False, False, True, False])
    return Table(
        {"galaxy": ["10", "9", "<b>x</b>", "100"], "state": ["done", "done", "failed", "stalled"],
         "zred": [1.0, 2.0, 0.5, 1.5], "logmass_p50": mass, "unused": [1, 2, 3, 4]}
    )  # fmt: skip


def test_text_is_escaped_and_gaps_are_empty(table):
    page = fit_table(table)
    assert "<b>x</b>" not in page and "&lt;b&gt;x" in page
    assert "nan" not in page and "unused" not in page
    assert "The first 2 of 4" in fit_table(table, most=2)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium to try the page in")
def test_sort_and_filter_in_a_browser(table, tmp_path):
    script = """<script>
    document.querySelectorAll("#fits thead tr:first-child th")[3].click();
    const filter = document.querySelectorAll("#fits thead input")[2];
    filter.value = ">=1"; filter.oninput();
    document.title = Array.from(document.querySelectorAll("#fits tbody tr"))
      .filter(r => !r.hidden).map(r => r.cells[0].textContent).join(" ")
      + "; " + document.getElementById("shown").textContent;
    </script>"""
    page = tmp_path / "page.html"
    page.write_text(f"<!DOCTYPE html><html><body>{fit_table(table)}{script}</body></html>")
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu",
               f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    # By mass, and of z >= 1 only; ids are numbers and text mixed.
    assert re.search("<title>(.*?)</title>", done.stdout).group(1) == "9 10 100; 3"
