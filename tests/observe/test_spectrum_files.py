"""Readers of spectra, against files as their makers write them and astropy's conversions."""

from types import SimpleNamespace

import numpy as np
import pytest
from astropy import nddata
from astropy import units as u
from astropy.io import fits
from astropy.table import Table

from prospect_emu.errors import DataError
from prospect_emu.observe.spectrum_files import (
    air_to_vacuum,
    from_specutils,
    line_spread,
    read_spectrum,
)

WAVE = np.linspace(1.0, 2.0, 21)  # um
FLUX = np.linspace(2.0, 3.0, 21)  # uJy


def table(**changes):
    columns = {"wavelength": WAVE * u.um, "flux": FLUX * u.uJy, "err": 0.1 * FLUX * u.uJy}
    return Table({k: v for k, v in (columns | changes).items() if v is not None})


def written(tmp_path, data, name="spec.ecsv", **kwargs):
    path = tmp_path / name
    data.write(path, **kwargs)
    return path


def test_a_table_with_units(tmp_path):
    got = read_spectrum(written(tmp_path, table()))
    np.testing.assert_allclose(got["wavelength"], WAVE * 1e4)
    np.testing.assert_allclose(got["spectrum"], FLUX * 1e-6 / 3631.0)
    np.testing.assert_allclose(got["unc"], 0.1 * got["spectrum"])
    assert got["mask"].all() and got["dispersion"] is None
    assert "as in vacuum" in got["spectrum_notes"][0]


def test_flux_per_wavelength(tmp_path):
    """f_lambda is converted as astropy does at each wavelength."""
    flam = (FLUX * u.uJy).to(u.erg / u.s / u.cm**2 / u.AA, u.spectral_density(WAVE * u.um))
    data = table(flux=flam, err=0.1 * flam)
    got = read_spectrum(written(tmp_path, data))
    np.testing.assert_allclose(got["spectrum"], FLUX * 1e-6 / 3631.0)


def test_text_without_units(tmp_path):
    data = Table({"wave": WAVE * 1e4, "flux": FLUX, "err": 0.1 * FLUX})
    path = written(tmp_path, data, "spec.csv")
    with pytest.raises(DataError, match=r"unit of column 'wave'; .* --wave-unit"):
        read_spectrum(path)
    with pytest.raises(DataError, match=r"unit of column 'flux'; .* --spectrum-unit"):
        read_spectrum(path, wave_unit="AA")
    got = read_spectrum(path, unit="uJy", wave_unit="AA")
    np.testing.assert_allclose(got["spectrum"], FLUX * 1e-6 / 3631.0)


def test_nirspec(tmp_path):
    """The SPEC1D table of msaexp: um and uJy, its own err beside full_err; NaN is masked."""
    flux = FLUX.copy()
    flux[3] = np.nan
    data = Table({"wave": WAVE, "flux": flux, "err": 0.1 * FLUX, "full_err": 0.2 * FLUX})
    hdus = fits.HDUList(
        [fits.PrimaryHDU(), fits.BinTableHDU(data, name="SPEC1D"), fits.ImageHDU(np.zeros((2, 2)))]
    )
    hdus.writeto(tmp_path / "a.spec.fits")
    got = read_spectrum(tmp_path / "a.spec.fits")
    assert got["mask"].sum() == 20 and not got["mask"][3]
    assert np.isfinite(got["spectrum"]).all() and np.isfinite(got["unc"]).all()
    np.testing.assert_allclose(got["unc"][4], 0.1 * FLUX[4] * 1e-6 / 3631.0)
    assert any("1 pixel is masked" in note for note in got["spectrum_notes"])


def test_sdss(tmp_path):
    """The COADD table of SDSS: log wavelength, 1e-17 f_lambda, ivar, masks, and wdisp."""
    log = np.log10(4000.0) + 1e-4 * np.arange(30)
    ivar = np.full(30, 4.0)
    ivar[5] = 0.0
    and_mask = np.zeros(30, dtype=np.int32)
    and_mask[7] = 4
    data = Table(
        {
            "flux": np.full(30, 3.0, np.float32), "loglam": log, "ivar": ivar,
            "and_mask": and_mask, "or_mask": and_mask, "wdisp": np.full(30, 1.1),
        }
    )  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(data, name="COADD")]).writeto(
        tmp_path / "spec-1.fits"
    )
    got = read_spectrum(tmp_path / "spec-1.fits")
    unit = 1e-17 * u.erg / u.s / u.cm**2 / u.AA
    want = (3.0 * unit).to_value(u.Jy, u.spectral_density(10.0**log * u.AA)) / 3631.0
    np.testing.assert_allclose(got["spectrum"][got["mask"]], want[got["mask"]], rtol=1e-6)
    np.testing.assert_allclose(got["unc"][0], want[0] / 6.0, rtol=1e-6)
    assert list(np.flatnonzero(~got["mask"])) == [5, 7]
    # 1.1 pixels of 69 km/s.
    np.testing.assert_allclose(got["dispersion"], 1.1 * 69.03, rtol=1e-3)


def test_air():
    """Halpha and [O III] in air and vacuum, NIST."""
    np.testing.assert_allclose(
        air_to_vacuum([6562.79, 5006.843, 1215.67]), [6564.60, 5008.240, 1215.67], atol=0.01
    )


def test_air_of_a_file(tmp_path):
    data = table()
    data.meta["AIRORVAC"] = "air"
    got = read_spectrum(written(tmp_path, data))
    np.testing.assert_allclose(got["wavelength"], air_to_vacuum(WAVE * 1e4))
    assert got["spectrum_notes"] == ["Wavelengths were converted from air to vacuum."]


def test_inverse_variances_called_errors_are_told_of(tmp_path):
    data = table()
    data["err"] = 1e4 * np.ones(21) * u.uJy
    assert "ratio of a pixel is" in read_spectrum(written(tmp_path, data))["spectrum_notes"][-1]


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"wavelength": WAVE[::-1] * u.um}, "do not increase from pixel 0"),
        ({"wavelength": np.repeat(WAVE[::3], 3) * u.um}, "do not increase"),
        ({"wavelength": np.where(WAVE > 1.9, np.nan, WAVE) * u.um}, "wavelengths are not finite"),
        ({"wavelength": WAVE * u.s}, "is not a length"),
        ({"wavelength": (WAVE - 1.5) * u.um}, "first wavelength is -5000 A"),
        ({"flux": FLUX * u.s}, "not a flux density"),
        ({"flux": FLUX * u.erg / u.s / u.cm**2}, "not a flux density"),
        ({"flux": np.full(21, np.nan) * u.uJy}, "All pixels .* 21 for a flux that is not finite"),
        ({"err": np.zeros(21) * u.uJy}, "All pixels .* and 21 for an error that is not positive"),
        ({"use": np.zeros(21, dtype=bool)}, "All pixels"),
        ({"mask": np.zeros(21, dtype=bool)}, "rename it 'use'"),
        ({"err": None}, "no column of the error"),
        ({"R": np.zeros(21)}, "not positive"),
        ({"R": np.full(21, 0.1)}, "more than light's"),
    ],
)
def test_one_sentence_for_bad_spectra(tmp_path, changes, match):
    with pytest.raises(DataError, match=match) as error:
        read_spectrum(written(tmp_path, table(**changes)))
    assert str(error.value).count(". ") == 0


def test_line_spread_functions(tmp_path):
    wave = WAVE * 1e4
    kms = 2.998e5
    np.testing.assert_allclose(line_spread("R=100", wave), kms / 235.48, rtol=1e-4)
    np.testing.assert_allclose(line_spread("70km/s", wave), 70.0)
    np.testing.assert_allclose(line_spread("20AA", wave), 20.0 / wave * kms)
    path = written(tmp_path, Table({"wavelength": [0.9, 2.1] * u.um, "R": [30.0, 300.0]}), "r.ecsv")
    np.testing.assert_allclose(line_spread(path, wave)[0], kms / (2.3548 * 30.0), rtol=0.4)
    short = written(
        tmp_path, Table({"wavelength": [1.2, 2.1] * u.um, "R": [30.0, 300.0]}), "s.ecsv"
    )
    with pytest.raises(DataError, match="covers 12000 to 21000 A, but the pixels"):
        line_spread(short, wave)
    for bad, match in (
        ("100", "no unit"),
        ("R=0", "not positive"),
        ("70kg", "unit 'kg'"),
        ("70km", "than light"),
    ):
        with pytest.raises(DataError, match=match):
            line_spread(bad, wave)


def test_own_column_of_resolution(tmp_path):
    got = read_spectrum(written(tmp_path, table(R=np.full(21, 100.0))))
    np.testing.assert_allclose(got["dispersion"], 2.998e5 / 235.48, rtol=1e-4)


def test_specutils(tmp_path):
    specutils = pytest.importorskip("specutils", reason="specutils is not installed")
    from astropy.nddata import InverseVariance

    kind = getattr(specutils, "Spectrum", None) or specutils.Spectrum1D
    mask = np.zeros(21, dtype=bool)
    mask[2] = True
    spectrum = kind(
        spectral_axis=WAVE * u.um, flux=FLUX * u.uJy, mask=mask,
        uncertainty=InverseVariance(100.0 / FLUX**2 / u.uJy**2),
    )  # fmt: skip
    got = from_specutils(spectrum)
    want = read_spectrum(written(tmp_path, table()))
    np.testing.assert_allclose(got["spectrum"][got["mask"]], want["spectrum"][got["mask"]])
    np.testing.assert_allclose(got["unc"][0], want["unc"][0])
    assert list(np.flatnonzero(~got["mask"])) == [2]


@pytest.mark.parametrize("kind", ["StdDevUncertainty", "VarianceUncertainty", "InverseVariance"])
def test_uncertainties_have_units_of_their_own(kind):
    """Errors of 0.1 uJy given in nJy, as `astropy.nddata` allows, became 100 uJy."""
    power = {"StdDevUncertainty": 1, "VarianceUncertainty": 2, "InverseVariance": -2}[kind]
    given = getattr(nddata, kind)((np.full(21, 100.0) * u.nJy) ** power)
    axis = WAVE * u.um
    spectrum = SimpleNamespace(spectral_axis=axis, flux=FLUX * u.uJy, uncertainty=given, mask=None)
    np.testing.assert_allclose(from_specutils(spectrum)["unc"], 1e-7 / 3631.0, rtol=1e-12)
