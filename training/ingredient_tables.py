"""Ingredients of spectra from the installed python-fsps, whatever it was built with.

`make_ingredients` writes one file for one set of stellar parameters; `make_bundle` the
files that come with the package. Neither needs torch.
"""

from pathlib import Path

import numpy as np

from prospect_emu.errors import SetupError
from prospect_emu.files import check_writable, save_tensors
from prospect_emu.parameters import DEFAULTS, INGREDIENTS
from prospect_emu.sps.constants import LNU_UNIT, PHOTON_UNIT, locate
from prospect_emu.sps.ingredients import (
    AGB_KIND,
    TO_UNIT,
    Ingredients,
    read_ingredients,
    write_ingredients,
    write_shared,
)
from prospect_emu.sps.nebular import ionising_photons
from prospect_emu.sps.spectrum import spectrum

from .exact_tables import compute_stars, population, read_tables
from .generate import fsps_versions

# Of the light at each wavelength, which is taken from 912 A.
_AGB_TOLERANCE = 3e-4
_AGB_FROM = 912.0


def make_ingredients(path, label=None, overwrite=False, report=None, **parameters):
    """Write ingredients of the installed FSPS, with everything in one file.

    Takes some ten seconds for each metallicity.

    Parameters
    ----------
    path : path-like
        In `prospect_emu.sps.ingredients.user_folder` they are found by themselves.
    label : str, optional
        What to call isochrones and spectral library; by default FSPS's names.
    overwrite : bool
    report : callable, optional
        Given a sentence at each step.
    **parameters
        Of `prospect_emu.parameters.INGREDIENTS`; absent ones are FSPS's defaults.

    Raises
    ------
    SetupError
        If FSPS is not available or built in a way that is not supported.
    OutputError
        If `path` exists or cannot be written.
    """
    check_writable(path, overwrite)
    report = report or (lambda sentence: None)
    report("Reading FSPS's tables")
    shared = read_tables()
    ingredients = assemble(shared | compute_stars(parameters, report), label, parameters)
    write_ingredients(path, ingredients)
    report(f"Wrote {path}")
    return ingredients


def assemble(tables, label=None, parameters=None, versions=None, dtype=np.float32):
    """`Ingredients` from tables in FSPS's units (dict of arrays, see `.tables`).

    Parameters
    ----------
    tables : dict
        Of `read_tables` and `compute_stars`, or of the same names from elsewhere.
    label : str, optional
    parameters : dict, optional
        Stellar parameters; absent ones are FSPS's defaults.
    versions : dict, optional
        By default those of the installed python-fsps.
    dtype : numpy dtype
        Of the largest arrays.
    """
    versions = fsps_versions() if versions is None else versions
    age, wave = tables["log_age"], tables["wave"]
    nneb = int(locate(age, tables["neb_log_age"][-1]))
    dust = tables["dust_lnu"]
    first = int(np.flatnonzero((dust > 0.0).reshape(-1, wave.size).any(axis=0))[0])
    dust = np.maximum(dust[..., first:], 0.0)
    values = {k: DEFAULTS[k] for k in INGREDIENTS} | dict(parameters or {})
    return Ingredients(
        wave=wave,
        resolution=tables["resolution"],
        log_age=age,
        logz=np.log10(tables["metallicity"] / float(np.squeeze(tables["zsol"]))),
        stars_lnu=(tables["ssp_lnu"] / LNU_UNIT).astype(dtype),
        stars_mass=tables["ssp_mass"],
        stars_loglbol=tables["ssp_loglbol"],
        photons=ionising_photons(wave, tables["ssp_lnu"][:, :nneb]) / PHOTON_UNIT,
        neb_logz=tables["neb_logz"],
        neb_log_age=tables["neb_log_age"],
        neb_logu=tables["neb_logu"],
        neb_logcont=(tables["neb_logcont"] + TO_UNIT).astype(dtype),
        neb_logline=(tables["neb_logline"] + TO_UNIT).astype(dtype),
        line_wave=tables["line_wave"],
        dust_qpah=tables["dust_qpah"],
        dust_umin=tables["dust_umin"],
        # Their ratios matter, their unit does not: this brings them near one.
        dust_lnu=(dust / dust.max()).astype(dtype),
        agn_tau=tables["agn_tau"],
        agn_lnu=(tables["agn_lnu"] / LNU_UNIT).astype(dtype),
        line_names=tuple(tables.get("line_names", ())),
        manifest={
            "label": label,
            "libraries": [str(name).strip() for name in versions.get("libraries", ())],
            "versions": versions,
            "zsol": float(np.squeeze(tables["zsol"])),
            "parameters": {k: np.asarray(v).item() for k, v in values.items()},
        },
    )


def compare_with_fsps(path, n, seed=0):
    """Relative differences of spectra made of a file from those of the installed FSPS.

    Delayed-tau galaxies with gas, dust of dust_type 4, dust emission and AGN.

    Parameters
    ----------
    path : path-like
        Of ingredients.
    n : int
        How many galaxies.
    seed : int

    Returns
    -------
    median, worst : float
        Over all wavelengths from 912 A to 1 mm (within ten decades of the brightest).
    """
    ingredients = read_ingredients(path)
    stars = {k: v for k, v in ingredients.parameters.items() if k in INGREDIENTS}
    pop = population(stars, zcontinuous=1)
    rng = np.random.default_rng(seed)
    fixed = {"sfh": 4, "dust_type": 4, "add_neb_emission": True}
    differ = []
    for _ in range(n):
        tage = rng.uniform(0.1, 13.0)
        params = fixed | {
            "tau": 10.0 ** rng.uniform(-0.5, 1.0),
            "logzsol": rng.uniform(*ingredients.logz[[0, -1]]),
            "gas_logz": rng.uniform(*ingredients.neb_logz[[0, -1]]),
            "gas_logu": rng.uniform(*ingredients.neb_logu[[0, -1]]),
            "dust1": rng.uniform(0.0, 2.0),
            "dust2": rng.uniform(0.0, 2.0),
            "dust_index": rng.uniform(-1.0, 0.4),
            "duste_qpah": rng.uniform(*ingredients.dust_qpah[[0, -1]]),
            "duste_umin": rng.uniform(*ingredients.dust_umin[[0, -1]]),
            "duste_gamma": 10.0 ** rng.uniform(-4.0, 0.0),
            "fagn": 10.0 ** rng.uniform(-3.0, 0.0),
            "agn_tau": rng.uniform(*ingredients.agn_tau[[0, -1]]),
        }
        for name, value in params.items():
            pop.params[name] = value
        wave, lnu = pop.get_spectrum(tage=tage)
        seen = (wave > 912.0) & (wave < 1e7) & (lnu > 1e-10 * lnu.max())
        ours = spectrum(ingredients, params | {"tage": tage}).lnu[0]
        differ.append(np.abs(ours[seen] / lnu[seen] - 1.0))
    differ = np.concatenate(differ)
    return float(np.median(differ)), float(differ.max())


# ---- the files that come with the package -----------------------------------------


def make_bundle(folder, label, imf_types=(0, 1, 2), overwrite=False, report=print):
    """Write stars of several IMFs, what they share, and their difference without AGB dust."""
    folder = Path(folder)
    shared = read_tables()
    on, off = {}, {}
    for imf in imf_types:
        report(f"imf_type {imf}")
        on[imf] = compute_stars({"imf_type": imf}, report)
        off[imf] = compute_stars({"imf_type": imf, "add_agb_dust_model": False})["ssp_lnu"]
    report("Difference without AGB dust")
    names = {k: folder / f"{k}.safetensors" for k in ("shared", "agb-dust")}
    difference = agb_difference(
        shared["wave"], {f"imf{k}": (v["ssp_lnu"], off[k]) for k, v in on.items()}
    )
    check_writable(names["agb-dust"], overwrite)
    save_tensors(names["agb-dust"], difference, {"kind": AGB_KIND, "label": label})
    for imf, stars in on.items():
        path = folder / f"imf{imf}.safetensors"
        check_writable(path, overwrite)
        ingredients = assemble(shared | stars, label, {"imf_type": imf})
        ingredients.manifest["agb_dust"] = {"file": names["agb-dust"].name, "name": f"imf{imf}"}
        write_ingredients(path, ingredients, shared=names["shared"].name)
    check_writable(names["shared"], overwrite)
    write_shared(names["shared"], ingredients)


def agb_difference(wave, spectra, tolerance=_AGB_TOLERANCE):
    """What AGB dust changes, ``ln(without / with)``, as a product of two 16-bit matrices.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
    spectra : dict
        Name to spectra (nz, nage, nwave) with and without the dust.
    tolerance : float
        Of the light, at every wavelength from 912 A.

    Returns
    -------
    dict of ndarray
        ``left_<name>`` (nz, n, rank) with a scale for each column, ``right`` (rank, m) with
        one for each row, ``first_age`` and ``first_wave``.

    Raises
    ------
    SetupError
        If no product within the tolerance is smaller than the spectra.
    """
    first_wave = int(np.searchsorted(wave, _AGB_FROM))
    change = np.stack([np.log(off / on)[..., first_wave:] for on, off in spectra.values()])
    first_age = int(np.flatnonzero(np.abs(change).max(axis=(0, 1, 3)) > 1e-6)[0])
    change = change[:, :, first_age:]
    flat = change.reshape(-1, change.shape[-1])
    u, size, vt = np.linalg.svd(flat, full_matrices=False)
    for rank in range(20, size.size, 20):
        left, left_scale = _round16(u[:, :rank] * np.sqrt(size[:rank]), axis=0)
        right, right_scale = _round16(np.sqrt(size[:rank])[:, None] * vt[:rank], axis=1)
        error = (left * left_scale) @ (right * right_scale[:, None]) - flat
        if np.abs(error).max() < tolerance:
            break
    else:
        raise SetupError("AGB dust changes these spectra in too many ways; store both kinds.")
    left = left.reshape(len(spectra), *change.shape[1:3], rank)
    out = {"right": right, "right_scale": right_scale}
    out |= {"first_age": np.array(first_age), "first_wave": np.array(first_wave)}
    for name, a in zip(spectra, left, strict=True):
        out[f"left_{name}"], out[f"left_{name}_scale"] = a, left_scale
    return out


def _round16(values, axis):
    """16-bit integers and the scale of each vector along `axis`."""
    scale = np.abs(values).max(axis=axis) / 32767.0
    return np.rint(values / np.expand_dims(scale, axis)).astype(np.int16), scale
