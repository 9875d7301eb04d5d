"""Ingredients from a DSPS file of simple stellar populations (HDF5), without FSPS.

Such a file holds spectra alone: ``ssp_lgmet`` (nz,), log10 of the mass fraction of metals;
``ssp_lg_age_gyr`` (nage,); ``ssp_wave`` (nwave,) in Angstrom; ``ssp_flux`` (nz, nage, nwave)
in Lsun/Hz per Msun formed. The rest comes from elsewhere:

- gas, dust emission and AGN: the bundled tables, brought to the file's wavelengths;
- surviving masses: those of the bundled populations of the same IMF at the same age and mass
  fraction of metals, linearly between them and held at their ends;
- bolometric luminosities: the integral of each spectrum.

DSPS's own files are made with nebular emission. It shows in the youngest populations, whose
ionising light is gone; gas is then not added a second time.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from prospect_emu.errors import ModelFileError, SetupError
from prospect_emu.files import check_writable
from prospect_emu.sps.constants import LNU_UNIT, find_cell, interpolate
from prospect_emu.sps.ingredients import (
    BUNDLED,
    TO_UNIT,
    find_ingredients,
    write_ingredients,
)
from prospect_emu.sps.nebular import frequency_weights, ionising

from .ingredient_tables import assemble

_NAMES = ("ssp_lgmet", "ssp_lg_age_gyr", "ssp_wave", "ssp_flux")
# Mass fraction of metals of the Sun in FSPS's MIST isochrones, whose metallicities are
# multiples of 0.25 dex from it.
_MIST_SUN, _MIST_STEP = 0.0142, 0.25
# Share of ionising light in the luminosity of the youngest populations: 0.3 to 0.5, and 3e-5
# where gas has taken it.
_GONE = 1e-2
NOTE = (
    "The stars of {label} hold their gas's light already, so that add_neb_emission, gas_logz "
    "and gas_logu change nothing and no lines are apart; for gas that varies make the file "
    "without nebular emission."
)


def make_from_dsps(file, path, label=None, zsol=None, overwrite=False, imf_type=2, **parameters):
    """Write ingredients from a DSPS file.

    Parameters
    ----------
    file : path-like
    path : path-like
        Of the ingredients.
    label : str, optional
        What to call isochrones and spectral library; default the file's name.
    zsol : float, optional
        Mass fraction of metals that ``logzsol`` counts from. The file does not tell; the grid
        of FSPS's MIST isochrones is recognised.
    overwrite : bool
    imf_type : int
        Of the file; FSPS's default, which DSPS's files have.
    **parameters
        Other stellar parameters of the file, by FSPS's names, where not FSPS's defaults.

    Returns
    -------
    Ingredients

    Raises
    ------
    ModelFileError
        If the file is no such file.
    SetupError
        If its solar metallicity is not known, or no bundled populations have its IMF.
    """
    check_writable(path, overwrite)
    ingredients = read_dsps(file, label, zsol, imf_type=imf_type, **parameters)
    write_ingredients(path, ingredients)
    return ingredients


def read_dsps(file, label=None, zsol=None, imf_type=2, **parameters):
    """`Ingredients` from a DSPS file; see `make_from_dsps`."""
    file = Path(file)
    lgmet, log_age, wave, lnu = _read(file)
    zsol = _solar(lgmet, file) if zsol is None else float(zsol)
    rest = find_ingredients([BUNDLED], imf_type=imf_type)
    tables = {
        "wave": wave,
        # Not in the file: lines are two pixels wide.
        "resolution": np.zeros(wave.size),
        "log_age": log_age,
        "metallicity": 10.0**lgmet,
        "zsol": zsol,
        "ssp_lnu": lnu,
        "ssp_mass": _masses(rest, lgmet, log_age),
        "ssp_loglbol": np.log10(lnu @ frequency_weights(wave)),
        **_on_wavelengths(rest, wave),
    }
    label = label or f"DSPS {file.stem}"
    libraries = ["dsps", file.stem, rest.libraries[2]]
    versions = {
        "libraries": libraries,
        "dsps": hashlib.sha256(file.read_bytes()).hexdigest(),
        "tables": rest.manifest["versions"],
    }
    out = assemble(tables, label, parameters | {"imf_type": imf_type}, versions)
    if has_gas(wave, lnu):
        out.manifest["note"] = NOTE.format(label=label)
        out = replace(out, photons=np.zeros((lgmet.size, 0)))
    return out


def has_gas(wave, lnu):
    """Whether ionising light of the youngest populations (nz, nage, nwave) is gone into gas."""
    power = lnu[:, 0] * frequency_weights(wave)
    return bool((power[:, : ionising(wave)].sum(axis=1) < _GONE * power.sum(axis=1)).all())


def _read(file):
    """The four arrays of a file, checked."""
    try:
        with h5py.File(file, "r") as f:
            missing = [k for k in _NAMES if k not in f]
            if missing:
                raise ModelFileError(
                    f"{file} has no {missing[0]}; a DSPS file holds {', '.join(_NAMES)}."
                )
            lgmet, age, wave, lnu = (np.asarray(f[k], dtype=float) for k in _NAMES)
    except OSError as err:
        raise ModelFileError(f"{file} cannot be read as HDF5 ({err}).") from err
    if lnu.shape != (lgmet.size, age.size, wave.size) or min(lnu.shape) < 2:
        raise ModelFileError(
            f"{file}: ssp_flux has shape {lnu.shape}, not (metallicities, ages, wavelengths) = "
            f"{lgmet.size, age.size, wave.size} of two or more each."
        )
    for name, axis in zip(_NAMES, (lgmet, age, wave), strict=False):
        if not (np.diff(axis) > 0.0).all():
            raise ModelFileError(f"{file}: {name} does not increase; sort it.")
    if not (np.isfinite(lnu).all() and (lnu.max(axis=2) > 0.0).all()):
        raise ModelFileError(f"{file}: ssp_flux has NaN, or a spectrum without light.")
    return lgmet, age + 9.0, wave, np.maximum(lnu, 0.0)


def _solar(lgmet, file):
    steps = (lgmet - np.log10(_MIST_SUN)) / _MIST_STEP
    if np.abs(steps - np.round(steps)).max() < 0.02:
        return _MIST_SUN
    raise SetupError(
        f"{file} does not say what its metallicities are relative to; give the Sun's mass fraction "
        "of metals with --zsol (0.0142 for MIST, 0.01524 PARSEC, 0.019 Padova, 0.02 BaSTI)."
    )


def _masses(rest, lgmet, log_age):
    """Surviving masses (nz, nage) of the bundled populations."""
    at_age = interpolate(rest.log_age, rest.stars_mass, np.clip(log_age, *rest.log_age[[0, -1]]))
    cell, f = find_cell(rest.logz + np.log10(rest.manifest["zsol"]), lgmet)
    return at_age[cell] * (1.0 - f[:, None]) + at_age[cell + 1] * f[:, None]


def _on_wavelengths(rest, wave):
    """Tables of gas, dust and AGN at other wavelengths, in the units of `assemble`."""
    inside = np.clip(wave, *rest.wave[[0, -1]])
    dust = np.zeros((*rest.dust_lnu.shape[:-1], rest.wave.size))
    dust[..., rest.dust_start :] = rest.dust_lnu
    seen = rest.agn_lnu > 0.0
    torus = np.log10(np.where(seen, rest.agn_lnu, 1.0))
    torus = 10.0 ** interpolate(np.log10(rest.wave), torus, np.log10(inside))
    # Where there is light on both sides.
    torus = np.where(interpolate(rest.wave, seen.astype(float), inside) > 0.999, torus, 0.0)
    return {
        "neb_logz": rest.neb_logz,
        "neb_log_age": rest.neb_log_age,
        "neb_logu": rest.neb_logu,
        "neb_logcont": interpolate(rest.wave, rest.neb_logcont, inside) - TO_UNIT,
        "neb_logline": rest.neb_logline - TO_UNIT,
        "line_wave": rest.line_wave,
        "line_names": rest.line_names,
        "dust_qpah": rest.dust_qpah,
        "dust_umin": rest.dust_umin,
        "dust_lnu": interpolate(rest.wave, dust, inside),
        "agn_tau": rest.agn_tau,
        "agn_lnu": torus * LNU_UNIT,
    }
