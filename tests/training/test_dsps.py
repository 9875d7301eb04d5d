"""Files of DSPS's layout, written from the bundled populations, against these themselves."""

import h5py
import numpy as np
import pytest

from prospect_emu.commands import cli
from prospect_emu.errors import ModelFileError, SetupError
from prospect_emu.observe.filters import load_filters
from prospect_emu.sps.fold import compile_sps
from prospect_emu.sps.ingredients import BUNDLED, find_ingredients
from prospect_emu.sps.spectrum import spectrum
from prospect_emu.training.dsps_ingredients import read_dsps

METALS = slice(6, 13, 2)
PARSEC_SUN = 0.01524


@pytest.fixture(scope="module")
def kroupa():
    return find_ingredients([BUNDLED], imf_type=2)


def write(path, g, lnu, **more):
    """As DSPS writes it: (metallicities, ages, wavelengths), Lsun/Hz/Msun, ages in Gyr."""
    with h5py.File(path, "w") as f:
        f["ssp_lgmet"] = g.logz[METALS] + np.log10(g.manifest["zsol"])
        f["ssp_lg_age_gyr"] = g.log_age - 9.0
        f["ssp_wave"], f["ssp_flux"] = g.wave, lnu
        for name, value in more.items():
            f[name] = value
    return path


@pytest.fixture(scope="module")
def stars(kroupa, tmp_path_factory):
    """A file without nebular emission."""
    path = tmp_path_factory.mktemp("dsps") / "ssp_data.h5"
    return write(path, kroupa, kroupa.stars_lnu[METALS] * 1e-15)


@pytest.fixture(scope="module")
def with_gas(kroupa, tmp_path_factory):
    """A file as DSPS makes its own: FSPS's populations with nebular emission, lines too."""
    params = {"sfh": 0, "tage": 10.0 ** (kroupa.log_age - 9.0), "add_neb_emission": True}
    params |= {"add_dust_emission": False, "gas_logz": 0.0}
    out = [spectrum(kroupa, params | {"logzsol": z}) for z in kroupa.logz[METALS]]
    path = tmp_path_factory.mktemp("dsps") / "wNE.h5"
    lines = {
        "ssp_emline_name": np.array(kroupa.line_names, dtype="S"),
        "ssp_emline_wave": kroupa.line_wave,
        "ssp_emline_luminosity": np.array([s.line_lum for s in out]),
    }
    return write(path, kroupa, np.array([s.lnu for s in out]), **lines)


PARAMS = {
    "agebins": [[0.0, 7.0], [7.0, 8.5], [8.5, 9.7]], "mass": np.array([[1e8, 1e9, 3e9]] * 4),
    "logzsol": np.array([-0.4, -0.2, 0.0, 0.25]), "dust_type": 4, "dust2": 0.5, "dust1": 0.3,
    "add_neb_emission": True, "gas_logz": 0.0,
}  # fmt: skip


def span(kroupa, low=912.0, high=1e7):
    return (kroupa.wave > low) & (kroupa.wave < high)


def test_the_same_physics(kroupa, stars):
    """Stars, gas, dust emission: to single precision; AGN within 0.04 dex.

    Bundled bolometric luminosities are the isochrones', here they are integrals of spectra:
    0.02 dex apart in the median, 0.09 at most.
    """
    g = read_dsps(stars, zsol=PARSEC_SUN)
    assert g.label == "DSPS ssp_data" and g.parameters["imf_type"] == 2
    np.testing.assert_allclose(g.logz, kroupa.logz[METALS], atol=1e-5)
    np.testing.assert_allclose(g.stars_mass, kroupa.stars_mass[METALS], rtol=1e-6)
    off = np.abs(g.stars_loglbol - kroupa.stars_loglbol[METALS])
    assert np.median(off) < 0.03 and off.max() < 0.1
    # Metallicities between the same nodes.
    params = PARAMS | {"logzsol": g.logz}
    ours, theirs = spectrum(g, params), spectrum(kroupa, params)
    seen = span(kroupa)
    # Lines have the file's pixels for widths, since it tells no resolution.
    continuum = {"nebemlineinspec": False}
    a, b = (spectrum(x, params | continuum).lnu[:, seen] for x in (g, kroupa))
    np.testing.assert_allclose(a, b, rtol=1e-4)
    np.testing.assert_allclose(ours.mfrac, theirs.mfrac, rtol=1e-6)
    np.testing.assert_allclose(ours.line_lum, theirs.line_lum, rtol=1e-4)
    agn = {"fagn": 0.5, "agn_tau": 20.0}
    a, b = (spectrum(x, params | continuum | agn).lnu[:, seen] for x in (g, kroupa))
    np.testing.assert_allclose(a, b, rtol=0.1)


def test_gas_is_not_added_twice(kroupa, with_gas, tmp_path, monkeypatch):
    """Nebular emission in the file is seen, said once, and left as it is; bands compile."""
    monkeypatch.setenv("PROSPECT_EMU_INGREDIENTS", str(tmp_path))
    out = tmp_path / "mine.safetensors"
    command = ["ingredients", "--dsps", str(with_gas), "--zsol", str(PARSEC_SUN), "--out", str(out)]
    assert cli.main(command) in (0, None)
    with pytest.warns(UserWarning, match="hold their gas's light already, .* change nothing"):
        g = find_ingredients()
    assert g.label == "DSPS wNE" and g.nneb == 0
    params = PARAMS | {"logzsol": g.logz, "dust1": 0.0, "add_dust_emission": False}
    a, b = spectrum(g, params), spectrum(kroupa, params)
    seen = span(kroupa)
    np.testing.assert_allclose(a.lnu[:, seen], b.lnu[:, seen], rtol=1e-3)
    twice = spectrum(kroupa, params | {"add_neb_emission": False}).lnu
    assert np.abs(twice[:, seen] / b.lnu[:, seen] - 1.0).max() > 0.5
    assert (a.line_lum == 0.0).all()
    filters = load_filters(["sdss_u0", "sdss_r0", "spitzer_mips_24"])
    fixed = {k: v for k, v in PARAMS.items() if k not in ("mass", "dust2", "logzsol")}
    c = compile_sps(g, filters, fixed | {"zred": 0.1}, ["mass", "dust2", "logzsol", "gas_logu"])
    p = c.draw(8)
    np.testing.assert_allclose(c.maggies(p), c.direct(p), rtol=2e-4)


def test_bad_files(kroupa, stars, tmp_path):
    with pytest.raises(SetupError, match=r"give the Sun's .* --zsol \(0.0142 for MIST"):
        read_dsps(stars)
    with pytest.raises(SetupError, match="imf_type=5"):
        read_dsps(stars, zsol=PARSEC_SUN, imf_type=5)
    (tmp_path / "x.h5").write_bytes(b"not one")
    with pytest.raises(ModelFileError, match="cannot be read as HDF5"):
        read_dsps(tmp_path / "x.h5")
    with pytest.raises(ModelFileError, match=r"ssp_flux has shape \(4, 93, 10\)"):
        read_dsps(write(tmp_path / "y.h5", kroupa, np.ones((4, 93, 10))))
    with h5py.File(tmp_path / "z.h5", "w") as f:
        f["ssp_wave"] = kroupa.wave
    with pytest.raises(ModelFileError, match="has no ssp_lgmet"):
        read_dsps(tmp_path / "z.h5")
    lnu = np.full((4, 93, kroupa.wave.size), np.nan)
    with pytest.raises(ModelFileError, match="NaN"):
        read_dsps(write(tmp_path / "n.h5", kroupa, lnu))


def test_mist_is_recognised(kroupa, tmp_path):
    """FSPS's MIST metallicities need no --zsol."""
    lnu = kroupa.stars_lnu[METALS] * 1e-15
    path = write(tmp_path / "mist.h5", kroupa, lnu)
    with h5py.File(path, "a") as f:
        f["ssp_lgmet"][...] = np.log10(0.0142) + np.array([-1.0, -0.5, 0.0, 0.25])
    g = read_dsps(path)
    np.testing.assert_allclose(g.logz, [-1.0, -0.5, 0.0, 0.25], atol=1e-12)
