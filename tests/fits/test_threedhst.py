"""3D-HST: a small catalog of our own for each rule, and the real one where present."""

import numpy as np
import pytest
from astropy.table import Table
from sedpy import observate

from prospect_emu.errors import DataError
from prospect_emu.fits.threedhst import BANDS, filter_edges, galaxy_obs, read_catalog

NAMES = list(BANDS)


def photometry(n=3, suffix="_cosmos"):
    table = Table({"id": np.arange(10, 10 + n)})
    for i, x in enumerate(BANDS):
        table[f"f_{x}{suffix}"] = np.full(n, 20.0 + i)
        table[f"e_{x}{suffix}"] = np.full(n, 1.0)
    return table


def redshifts(n=3):
    return Table(
        {
            # Another order than the photometry's.
            "phot_id": np.arange(10, 10 + n)[::-1],
            "z_best": (1.0 + 0.1 * np.arange(n))[::-1],
            "z_type": np.arange(n)[::-1] % 3 + 1.0,
        }
    )


def write_folder(folder, phot, z, fits=False):
    folder.mkdir(exist_ok=True)
    for table, name in ((phot, "c.cat"), (z, "c.dat")):
        if fits:
            table.write(folder / f"{name}.FITS", format="fits")
        else:
            table.write(folder / name, format="ascii.commented_header")
    return folder


@pytest.fixture
def catalog(tmp_path):
    return read_catalog(write_folder(tmp_path / "cat", photometry(), redshifts()))


def test_45_known_bands():
    assert len(BANDS) == 45 == len(set(BANDS.values()))
    assert set(BANDS.values()) <= set(observate.list_available_filters())


def test_joined_by_id(catalog):
    np.testing.assert_array_equal(catalog["id"], [10, 11, 12])
    np.testing.assert_allclose(catalog["z_best"], [1.0, 1.1, 1.2])


@pytest.mark.parametrize("suffix", ["_cosmos", ""])
@pytest.mark.parametrize("fits", [False, True])
def test_formats_and_column_names_agree(tmp_path, catalog, fits, suffix):
    """Public files: FITS, upper-case band names, no field in the names."""
    phot = photometry(suffix=suffix)
    phot.rename_columns(
        phot.colnames, [n if n == "id" else n[:2] + n[2:].upper() for n in phot.colnames]
    )
    other = read_catalog(write_folder(tmp_path / "x", phot, redshifts(), fits))
    for name in catalog.colnames:
        np.testing.assert_array_equal(other[name], catalog[name])


def test_units_floor_and_mips(catalog):
    obs = galaxy_obs(catalog, 11, error_floor=0.05)
    flux = (20.0 + np.arange(45)) * 1e-10
    flux[-1] *= 10 ** (0.03542 / 2.5)
    error = np.full(45, 1e-10)
    error[-1] *= 10 ** (0.03542 / 2.5)
    # Products of the same numbers in another order: rounding only.
    np.testing.assert_allclose(obs["maggies"], flux, rtol=1e-14)
    np.testing.assert_allclose(obs["maggies_unc"], np.hypot(error, 0.05 * flux), rtol=1e-14)
    assert [f.name for f in obs["filters"]] == list(BANDS.values())
    assert (obs["id"], obs["zred"], obs["z_type"], obs["snr_f160w"]) == (11, 1.1, "grism", 20.0)
    assert obs["phot_mask"].all()


@pytest.mark.parametrize(
    ("flux", "error", "reason"),
    [
        (-99.0, 1.0, "was not observed"),
        (np.nan, 1.0, "was not observed"),
        (5.0, 0.0, "error is not a positive number"),
        (5.0, -99.0, "error is not a positive number"),
        (5.0, 5.0, "flux equals its error"),
        (-5.0, 2.0, "negative by more than 2 sigma"),
    ],
)
def test_mask_rules(catalog, flux, error, reason):
    catalog["f_j1"][0], catalog["e_j1"][0] = flux, error
    obs = galaxy_obs(catalog, row=0)
    assert np.flatnonzero(~obs["phot_mask"]).tolist() == [NAMES.index("j1")]
    assert reason in obs["notes"][0] and obs["notes"][0].startswith("mayall_newfirm_J1 ")


def test_slightly_negative_flux_is_kept(catalog):
    catalog["f_j1"][0] = -1.9
    assert galaxy_obs(catalog, row=0)["phot_mask"].all()


def test_lyman_alpha(catalog):
    """Bands by hand at z = 2.9, from where sedpy's curves reach 10 % of their peak.

    Bands that begin blueward of 1230 A x 3.9 = 4797 A go: U, B, g, IA427, IA464,
    F606W (from 4671 A) and IA484 (4699 A); V begins at 4886 A, IA505 at 4910 A.
    """
    catalog["z_best"][0] = 2.9
    mask = galaxy_obs(catalog, row=0)["phot_mask"]
    masked = {x for x, m in zip(NAMES, mask, strict=True) if not m}
    assert masked == {"u", "b", "g", "ia427", "ia464", "ia484", "f606w"}


def test_filter_edges_of_a_triangle():
    """Reference: 10 % of the peak lies a tenth of the way up each side."""
    wave = np.array([4000.0, 4100.0, 5000.0, 5900.0, 6000.0])
    filt = observate.Filter("t", data=(wave, np.array([0.0, 0.1, 1.0, 0.1, 0.0])))
    np.testing.assert_allclose(filter_edges(filt), [4100.0, 5900.0], rtol=1e-12)


def test_zeropoints(catalog):
    plain = galaxy_obs(catalog, row=0)
    assert "No zeropoint uncertainty" in plain["notes"][-1]
    obs = galaxy_obs(catalog, row=0, zeropoints={"u": 0.9, "f160w": 0.5})
    i, j = NAMES.index("u"), NAMES.index("f160w")
    extra = 0.1 * plain["maggies"][i]
    assert obs["maggies_unc"][i] == pytest.approx(
        np.hypot(plain["maggies_unc"][i], extra), rel=1e-12
    )
    assert obs["maggies_unc"][j] == plain["maggies_unc"][j]  # from space
    with pytest.raises(DataError, match="unknown bands"):
        galaxy_obs(catalog, row=0, zeropoints={"nonsense": 1.0})


# ---- bad input --------------------------------------------------------------------------------


def test_unknown_galaxy(catalog):
    with pytest.raises(DataError, match="0 galaxies with id 99"):
        galaxy_obs(catalog, 99)
    with pytest.raises(DataError, match="no row 3"):
        galaxy_obs(catalog, row=3)
    with pytest.raises(DataError, match="either"):
        galaxy_obs(catalog)


def test_no_redshift(catalog):
    catalog["z_best"][0] = -1.0
    with pytest.raises(DataError, match="no redshift"):
        galaxy_obs(catalog, 10)


def test_all_masked(catalog):
    for x in BANDS:
        catalog[f"f_{x}"][0] = -99.0
    with pytest.raises(DataError, match="All bands are masked"):
        galaxy_obs(catalog, 10)


def test_missing_files_and_columns(tmp_path):
    with pytest.raises(DataError, match="is not a folder"):
        read_catalog(tmp_path / "none")
    with pytest.raises(DataError, match="holds 0 files"):
        read_catalog(tmp_path)
    phot = photometry()
    phot.remove_column("e_u_cosmos")
    with pytest.raises(DataError, match="lacks the columns e_u"):
        read_catalog(write_folder(tmp_path / "x", phot, redshifts()))


def test_other_galaxies(tmp_path):
    z = redshifts()
    z["phot_id"][0] = 77
    with pytest.raises(DataError, match=r"lacks 1 galaxies of the photometry file \(id 12"):
        read_catalog(write_folder(tmp_path / "x", photometry(), z))


# ---- the real catalog ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(shared):
    folder = shared / "3dhst"
    if not folder.is_dir():
        pytest.skip(f"the 3D-HST catalog is not present at {folder}")
    return read_catalog(folder)


def test_real_catalog(real):
    """Counts of the file itself (grep), and one galaxy's numbers copied from its line."""
    assert len(real) == 608
    obs = galaxy_obs(real, 1746)
    assert (obs["zred"], obs["z_type"]) == (0.917, "photometric")
    i = NAMES.index("f160w")
    assert obs["maggies"][i] == pytest.approx(1.350844e-9, rel=1e-12)
    assert obs["maggies_unc_catalog"][i] == pytest.approx(1.321809e-11, rel=1e-12)
    np.testing.assert_array_equal(real["fast_id"], real["id"])


def test_every_real_galaxy_can_be_fitted(real):
    """At least 30 of 45 bands are left of each; a wrong sign in a rule leaves far fewer."""
    used = [galaxy_obs(real, row=i)["phot_mask"].sum() for i in range(len(real))]
    assert min(used) >= 30 and max(used) == 45


def test_real_photometry_is_in_the_right_filters(real):
    """The median galaxy's log flux is smooth in wavelength.

    Neighbouring bands of bright galaxies differ by less than 0.5 mag in the
    median; swapped columns, as U with K, differ by magnitudes.
    """
    obs = [galaxy_obs(real, row=i) for i in range(0, len(real), 4)]
    wave = np.array([f.wave_effective for f in obs[0]["filters"]])
    near_ir = (wave > 1.5e4) & (wave < 2.3e4)
    flux = np.array([np.where(o["phot_mask"], o["maggies"], np.nan) for o in obs])[:, near_ir]
    with np.errstate(invalid="ignore"):
        mag = -2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    step = np.diff(np.nanmedian(mag - mag[:, :1], axis=0)[np.argsort(wave[near_ir])])
    assert np.abs(step).max() < 0.5
