"""Which FSPS is installed, and what is said where the bundled ingredients stand in for it."""

import subprocess
import sys
import warnings
from types import SimpleNamespace

import pytest

from prospect_emu.sps import installed, other_libraries
from prospect_emu.sps.ingredients import find_ingredients, write_ingredients
from prospect_emu.training.ingredient_tables import assemble

MIST = (b"mist", b"miles  ", b"DL07  ")
PARSEC = (b"prsc", b"c3k_lr", b"DL07")


@pytest.fixture
def pretend(tmp_path, monkeypatch):
    """A python-fsps of given libraries, an FSPS folder, and an empty folder of the user's."""
    home, own = tmp_path / "fsps", tmp_path / "own"
    (home / "data").mkdir(parents=True)
    own.mkdir()
    (home / "data" / "emlines_info.dat").write_text("")
    monkeypatch.setenv("PROSPECT_EMU_INGREDIENTS", str(own))

    def make(libraries, version="0.5.0"):
        driver = SimpleNamespace(get_libraries=lambda: libraries)
        module = SimpleNamespace(
            fsps=SimpleNamespace(driver=driver), __version__=version, __spec__=object()
        )
        monkeypatch.setitem(sys.modules, "fsps", module)
        monkeypatch.setenv("SPS_HOME", str(home))
        installed._ask.cache_clear()
        monkeypatch.setattr(other_libraries, "_warned", set())
        return own

    yield make
    installed._ask.cache_clear()


def own_file(folder, make_synthetic, name, libraries, version="0.5.0", **parameters):
    versions = {"libraries": list(libraries), "python-fsps": version}
    made = assemble(make_synthetic(), name, parameters, versions)
    write_ingredients(folder / f"{name}.safetensors", made)


def test_other_libraries_are_said_once(pretend):
    """MIST and MILES installed, no ingredients of them: one warning, with the command."""
    from prospect_emu import EmulatorSPS

    pretend(MIST)
    with pytest.warns(UserWarning, match=r"PARSEC/CK04, but .* MIST, MILES, DL07.*`prospect-emu i"):
        sps = EmulatorSPS()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        EmulatorSPS()
        sps.get_galaxy_spectrum(mass=1.0, tage=1.0, imf_type=1)


def test_own_ingredients_are_found_and_nothing_is_said(pretend, make_synthetic):
    """Of one's own libraries before others, and of the installed version before others."""
    own = pretend(MIST, "0.5.0")
    own_file(own, make_synthetic, "mine", ("mist", "miles", "DL07"), imf_type=1)
    own_file(own, make_synthetic, "old", ("mist", "miles", "DL07"), "0.4.0", imf_type=1)
    own_file(own, make_synthetic, "zz", ("bsti", "miles", "DL07"), imf_type=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = find_ingredients(imf_type=1)
        other_libraries.warn_of_other_libraries(found, {"imf_type": 1})
    assert found.label == "mine"
    others = {m.fingerprint for m in (found, find_ingredients(imf_type=0))}
    assert len(others) == 2 and all(len(f) == 64 for f in others)
    # Own ingredients, but not of this IMF: the command names it.
    with pytest.warns(UserWarning, match="`prospect-emu ingredients imf_type=0`"):
        other_libraries.warn_of_other_libraries(find_ingredients(imf_type=0), {"imf_type": 0})


def test_nothing_to_say(pretend, monkeypatch):
    """The same libraries, no SPS_HOME, a folder that is not FSPS's, a broken python-fsps."""
    used = find_ingredients(imf_type=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pretend(PARSEC)
        other_libraries.warn_of_other_libraries(used)
        pretend(MIST)
        monkeypatch.setenv("SPS_HOME", "/nowhere")
        other_libraries.warn_of_other_libraries(used)
        monkeypatch.delenv("SPS_HOME")
        other_libraries.warn_of_other_libraries(used)
        pretend(None)
        other_libraries.warn_of_other_libraries(used)


def test_without_sps_home_fsps_is_not_imported():
    code = (
        "from prospect_emu import EmulatorSPS; import sys; EmulatorSPS(); print('fsps' in"
        " sys.modules)"
    )
    env = {"PATH": "/usr/bin", "PYTHONPATH": ":".join(p for p in sys.path if p)}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.stdout.strip() == "False", run.stderr


@pytest.mark.fsps
def test_the_real_one_is_asked_without_running_it(fsps_ready):
    """python-fsps's own answer, in less than 0.3 s (10 ms measured)."""
    import time

    import fsps

    installed._ask.cache_clear()
    start = time.perf_counter()
    here = installed.installed_fsps()
    assert time.perf_counter() - start < 0.3
    assert here.version == fsps.__version__
    assert list(here.libraries) == [b.decode().strip() for b in fsps.fsps.driver.get_libraries()]
