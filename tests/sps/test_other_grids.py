"""Ingredients of other grids, made of the bundled ones by interpolation, give the same results.

Nodes are only added, and populations interpolated linearly as FSPS does it, so that
spectra of stars do not change at the old wavelengths, and bands by quadrature alone.
"""

from dataclasses import replace

import numpy as np
import pytest
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary

from prospect_emu import BatchedPosterior, EmulatorSPS
from prospect_emu.observe.filters import load_filters
from prospect_emu.sps.constants import between, find_cell, interpolate
from prospect_emu.sps.fold import compile_sps, relative_error
from prospect_emu.sps.ingredients import find_ingredients, write_ingredients
from prospect_emu.sps.spectrum import spectrum

BANDS = (
    "galex_NUV", "sdss_u0", "acs_wfc_f606w", "wfc3_ir_f160w", "twomass_Ks", "spitzer_irac_ch4",
    "spitzer_mips_24", "herschel_pacs_100",
)  # fmt: skip
STELLAR = ("stars_lnu", "stars_mass", "stars_loglbol")


def refined(g, span=(912.0, 1e4)):
    """Five times as many wavelengths in `span`, 187 ages, 22 metallicities."""
    fifth = g.wave[:-1, None] + np.diff(g.wave)[:, None] * np.arange(5) / 5
    keep = np.ones(fifth.shape, dtype=bool)
    keep[:, 1:] = ((g.wave[:-1] > span[0]) & (g.wave[:-1] < span[1]))[:, None]
    wave = np.append(fifth[keep], g.wave[-1])
    ages = np.append(5.4, np.append(5.45, np.interp(np.arange(185) / 2, np.arange(93), g.log_age)))
    logz = np.sort(np.append(g.logz, g.logz[:-1:2] + 0.3 * np.diff(g.logz)[::2]))
    cell, f = find_cell(g.logz, logz)
    out = {"wave": wave, "log_age": ages, "logz": logz}
    for name in STELLAR:
        table = getattr(g, name)
        if name == "stars_lnu":
            table = interpolate(g.wave, table.astype(float), wave)
            table = table[cell] * (1.0 - f)[:, None, None] + table[cell + 1] * f[:, None, None]
        else:
            table = between(table, cell, f)
        a, fa = find_cell(g.log_age, ages)
        fa = fa.reshape(-1, *[1] * (table.ndim - 2))
        out[name] = table[:, a] * (1.0 - fa) + table[:, a + 1] * fa
    nneb = int(np.searchsorted(ages, g.log_age[g.nneb - 1], side="right"))
    a, fa = find_cell(g.log_age, ages[:nneb])
    photons = between(g.photons, cell, f)
    out["photons"] = photons[:, a] * (1.0 - fa) + photons[:, np.minimum(a + 1, g.nneb - 1)] * fa
    out["stars_lnu"] = out["stars_lnu"].astype(np.float32)
    dust = np.zeros((*g.dust_lnu.shape[:-1], g.wave.size))
    dust[..., g.dust_start :] = g.dust_lnu
    dust = interpolate(g.wave, dust, wave)
    out["dust_lnu"] = dust[..., np.searchsorted(wave, g.wave[g.dust_start]) :].astype(np.float32)
    for name in ("resolution", "agn_lnu"):
        out[name] = interpolate(g.wave, getattr(g, name), wave)
    out["neb_logcont"] = interpolate(g.wave, g.neb_logcont, wave).astype(np.float32)
    libraries = {"libraries": ["fine", "grid", "DL07"]}
    return replace(g, **out, manifest=g.manifest | {"label": "fine grid", "versions": libraries})


@pytest.fixture(scope="module")
def both():
    coarse = find_ingredients(imf_type=2)
    fine = refined(coarse)
    assert fine.stars_lnu.shape[:2] == (22, 187) and fine.wave.size == 3856
    return coarse, fine


def test_spectra(both):
    """At the old wavelengths: stars to rounding, dust emission to 2e-3, gas to 3e-2.

    Dust absorbs integrals over a finer grid; luminosities of gas are interpolated as logarithms
    in age, and end between two ages.
    """
    coarse, fine = both
    rng = np.random.default_rng(1)
    params = {
        "agebins": [[0.0, 7.5], [7.5, 8.5], [8.5, 9.7]], "mass": rng.uniform(1e8, 1e9, (6, 3)),
        "logzsol": rng.uniform(-2.1, 0.5, 6), "dust2": 0.0, "add_dust_emission": False,
    }  # fmt: skip
    at = np.searchsorted(fine.wave, coarse.wave)
    dusty = {"dust_type": 4, "dust2": 0.4, "add_dust_emission": True, "fagn": 0.1}
    gas = dusty | {"add_neb_emission": True, "nebemlineinspec": False}
    for more, worst in (({}, 2e-6), (dusty, 2e-3), (gas, 3e-2)):
        a, b = (spectrum(g, params | more) for g in both)
        error = np.abs(b.lnu[:, at] / a.lnu - 1.0)[:, (a.wave > 912.0) & (a.wave < 1e7)]
        assert error.max() < worst
        np.testing.assert_allclose(b.mfrac, a.mfrac, rtol=1e-9)
    assert (a.line_lum > 0.0).any()
    np.testing.assert_allclose(b.line_lum, a.line_lum, rtol=3e-2)


BINS = [[0.0, 7.5], [7.5, 8.5], [8.5, 9.7]]
RANGES = {"dust1": (0.0, 2.0), "dust2": (0.0, 2.0), "zred": (0.6, 0.8)}


@pytest.mark.parametrize("zfree", [False, True])
def test_bands(both, zfree):
    """Compiled: within 2e-4 of whole spectra on the new grid, and 2e-3 of the old grid.

    (The latter without birth clouds, which end at ``dust_tesc`` between two ages.)
    """
    filters = load_filters(BANDS)
    fixed = {"agebins": BINS, "add_igm_absorption": True, "fagn": 0.1}
    free = ["mass", "logzsol", "dust1", "dust2", "duste_umin"]
    fixed, free = (fixed, [*free, "zred"]) if zfree else (fixed | {"zred": 0.7}, free)
    c = [compile_sps(g, filters, fixed, free, RANGES) for g in both]
    p = c[0].draw(16)
    assert relative_error(c[1].maggies(p), c[1].direct(p)).max() < 2e-4
    old, new = (a.maggies(p | {"dust1": np.zeros(16)}) for a in c)
    assert relative_error(new, old).max() < 2e-3


def test_bands_with_gas(both):
    """Gas of any metallicity, lines apart: within 2e-4 of whole spectra on the new grid."""
    gas = {"add_neb_emission": True, "nebemlineinspec": False}
    fixed = gas | {"agebins": BINS, "add_igm_absorption": True, "zred": 0.7}
    free = ["mass", "logzsol", "dust2", "gas_logz"]
    c = compile_sps(both[1], load_filters(BANDS[:5]), fixed, free, RANGES, lines_apart=True)
    p = c.draw(16)
    assert relative_error(c.maggies(p), c.direct(p)).max() < 2e-4


def test_drop_in(both, tmp_path, monkeypatch):
    """A file of that grid in the user's folder: found, drop-in and batched agree to 1e-4."""
    fine = both[1]
    write_ingredients(tmp_path / "fine.safetensors", fine)
    params = dict(TemplateLibrary["parametric_sfh"])
    params["zred"] = {"N": 1, "isfree": False, "init": 0.1}
    model, filters = SpecModel(params), load_filters(BANDS[1:5])
    obs = {
        "filters": filters, "maggies": np.ones(4), "maggies_unc": np.ones(4),
        "wavelength": None, "spectrum": None, "phot_mask": np.ones(4, dtype=bool),
    }  # fmt: skip
    theta = model.prior_transform(np.full(model.ndim, 0.4))
    before = model.predict(theta, obs=obs, sps=EmulatorSPS())[1]
    monkeypatch.setenv("PROSPECT_EMU_INGREDIENTS", str(tmp_path))
    sps = EmulatorSPS()
    after = model.predict(theta, obs=obs, sps=sps)[1]
    assert sps.label == "fine grid" and sps.wavelengths.size == fine.wave.size
    assert sps.logage.size == 187
    np.testing.assert_allclose(after, before, rtol=2e-3)
    batched = BatchedPosterior(model, obs, sps)
    np.testing.assert_allclose(batched.maggies(theta[None])[0], after, rtol=1e-4)
