"""Everything FSPS reads or computes once, in one file that needs FSPS no more.

`export_tables` asks the installed python-fsps for its simple stellar
populations and grids, reads from SPS_HOME what python-fsps does not expose
(nebular, dust-emission and AGN tables) and brings all of it to FSPS's
wavelength grid, by FSPS's own interpolation. `ExactSPS` is made from the result.
Lengths of all axes come from the installation at hand.

Arrays (luminosities in Lsun/Hz, wavelengths in Angstrom, ages in log10(years))
-------------------------------------------------------------------------------
wave, resolution       (nwave,); resolution in km/s, dispersion
log_age                (nage,)
metallicity, zsol      (nz,), (); mass fractions
ssp_lnu                (nz, nage, nwave), per Msun formed
ssp_mass, ssp_loglbol  (nz, nage); surviving mass, log10 of Lsun, per Msun formed
neb_logz, neb_log_age, neb_logu  axes of the nebular tables
neb_logcont            (nlogz, nage, nlogu, nwave); log10 per ionising photon
neb_logline            (nlogz, nage, nlogu, nline); log10 of Lsun per ionising photon
line_wave              (nline,)
dust_qpah, dust_umin   axes of the dust-emission templates
dust_lnu               (nqpah, numin, 2, nwave); [..., 0, :] at Umin, [..., 1, :] up to Umax
agn_tau, agn_lnu       (ntau,), (ntau, nwave); per Lsun of the AGN
"""

import os
from pathlib import Path

import numpy as np

from prospect_emu.errors import ModelFileError, SetupError
from prospect_emu.files import check_writable, fingerprint, load_tensors, save_tensors
from prospect_emu.networks.vector import FIXED
from prospect_emu.parameters import INGREDIENTS
from prospect_emu.sps.constants import interpolate, locate

from .generate import fsps_versions, require_fsps

KIND = "prospect_emu sps tables"
NAMES = (
    "wave", "resolution", "log_age", "metallicity", "zsol", "ssp_lnu", "ssp_mass", "ssp_loglbol",
    "neb_logz", "neb_log_age", "neb_logu", "neb_logcont", "neb_logline", "line_wave",
    "dust_qpah", "dust_umin", "dust_lnu", "agn_tau", "agn_lnu",
)  # fmt: skip

# Axes of the dust-emission models that FSPS can be built with (Draine & Li
# 2007; Jones et al. 2017). They stand in no file: FSPS's source states them,
# in single precision.
_DL07_UMIN = (
    0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 0.8, 1.0, 1.2, 1.5,
    2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 8.0, 12.0, 15.0, 20.0, 25.0,
)  # fmt: skip
_THEMIS_UMIN = (
    0.1, 0.12, 0.15, 0.17, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5, 0.6, 0.7, 0.8, 1.0, 1.2, 1.5, 1.7, 2.0,
    2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 12.0, 15.0, 17.0, 20.0, 25.0, 30.0, 35.0, 40.0,
    50.0, 80.0,
)  # fmt: skip
_DUST_AXES = {
    "DL07": (np.array([0.47, 1.12, 1.77, 2.50, 3.19, 3.90, 4.58], np.float32), _DL07_UMIN),
    "THEMIS": (
        np.array([0.02, 0.06, 0.10, 0.14, 0.17, 0.20, 0.24, 0.28, 0.32, 0.36, 0.40], np.float32)
        / np.float32(2.2)
        * np.float32(100),
        _THEMIS_UMIN,
    ),
}
# Floors that FSPS adds before it takes logarithms of its tables.
_NEBULAR_FLOOR = 1e-95
_AGN_FLOOR = float(np.float32(1e-30))


def export_tables(path, overwrite=False):
    """Write the tables of the installed python-fsps to `path`.

    Computes every simple stellar population of the library (minutes).

    Returns
    -------
    path-like
        `path`, for `ExactSPS`.

    Raises
    ------
    SetupError
        If FSPS is not available or built in a way that has no tables here.
    OutputError
        If `path` exists or cannot be written.
    """
    check_writable(path, overwrite)
    settings = {k: v for k, v in FIXED.items() if k in INGREDIENTS}
    tensors = {**read_tables(), **compute_stars(settings)}
    del tensors["line_names"]
    versions = fsps_versions()
    manifest = {
        "kind": KIND,
        "versions": versions,
        "ssp_parameters": settings,
        "fingerprint": fingerprint({"versions": versions, "ssp_parameters": settings}),
    }
    save_tensors(path, tensors, manifest)
    return path


def load_tables(path):
    """Arrays and manifest of a file that `export_tables` wrote."""
    tensors, manifest = load_tensors(path, KIND)
    missing = [name for name in NAMES if name not in tensors]
    if missing:
        raise ModelFileError(f"{path} lacks {', '.join(missing)}; export the tables again.")
    return tensors, manifest


def read_tables():
    """Tables of the installed FSPS that do not depend on stellar parameters, as a dict.

    See above for names and units.
    """
    pop = population({})
    home = Path(os.environ["SPS_HOME"])
    isochrones, _, dust = (name.decode().strip() for name in pop.libraries)
    wave = np.array(pop.wavelengths, dtype=float)
    return {
        "wave": wave,
        "resolution": np.array(pop.resolutions, dtype=float),
        "zsol": np.array(float(pop.solar_metallicity)),
        "line_names": read_line_names(home, pop.emline_wavelengths),
        **read_nebular(home, isochrones, wave),
        **read_dust_emission(home, dust, wave),
        **read_agn(home, wave),
    }


def read_line_names(home, wave):
    """FSPS's names of emission lines at vacuum wavelengths `wave`."""
    with open(Path(home) / "data" / "emlines_info.dat") as file:
        rows = [line.rstrip("\n").split(",", 1) for line in file if line.strip()]
    known, names = np.array([float(a) for a, _ in rows]), [b.strip() for _, b in rows]
    nearest = np.abs(known[:, None] - wave).argmin(axis=0)
    if np.abs(known[nearest] / wave - 1.0).max() > 1e-3:
        raise SetupError(f"{home}/data/emlines_info.dat names other lines than FSPS computes.")
    return tuple(names[i] for i in nearest)


def compute_stars(parameters, report=None):
    """All simple stellar populations of the installed FSPS, as a dict of arrays."""
    pop = population(parameters)
    nz = len(pop.zlegend)
    for i in range(nz):
        if report:
            report(f"Stars of metallicity {i + 1} of {nz}")
        # Computes this metallicity alone; the rest are taken from memory below.
        pop.get_spectrum(zmet=i + 1, tage=1.0)
    spectra, mass, loglbol = pop._all_ssp_spec(update=False)
    return {
        "log_age": np.array(pop.ssp_ages, dtype=float),
        "metallicity": np.array(pop.zlegend, dtype=float),
        "ssp_lnu": np.ascontiguousarray(spectra.transpose(2, 1, 0)),
        "ssp_mass": np.ascontiguousarray(mass.T),
        "ssp_loglbol": np.ascontiguousarray(loglbol.T),
    }


def population(parameters, zcontinuous=0):
    require_fsps()
    import fsps

    unknown = [k for k in parameters if k not in INGREDIENTS]
    if unknown:
        raise SetupError(
            f"{unknown[0]} is not a parameter of the stars; they have {', '.join(INGREDIENTS)}."
        )
    pop = fsps.StellarPopulation(zcontinuous=zcontinuous, **parameters)
    if pop.n_afe > 1:
        raise SetupError("This FSPS varies [alpha/Fe], which is not supported; build it without.")
    return pop


def _require(path, what):
    if not path.is_file():
        raise SetupError(f"{path} is missing; ExactSPS needs FSPS's {what}: complete SPS_HOME.")
    return path


def _read_cloudy(path):
    """One nebular file: its columns, the three axes and the values (nlogz, nage, nlogu, ncol)."""
    with open(_require(path, "nebular tables")) as file:
        next(file)
        columns = np.array(next(file).split(), dtype=float)
        points, rows = [], []
        for head in file:
            points.append(head.split()[:3])
            rows.append(np.array(next(file).split(), dtype=float))
    points = np.array(points, dtype=float)
    axes = [np.unique(points[:, i]) for i in range(3)]
    shape = tuple(len(a) for a in axes)
    if len(rows) != np.prod(shape) or any(row.size != columns.size for row in rows):
        raise SetupError(f"{path} is not a full grid of nebular models; restore the file.")
    order = np.lexsort(points.T[::-1])
    return columns, axes, np.array(rows)[order].reshape(*shape, -1)


def read_nebular(home, isochrones, wave):
    """Nebular continuum (on `wave`) and lines of one isochrone library, dust-free clouds."""
    folder = home / "nebular"
    cont_wave, axes, cont = _read_cloudy(folder / f"ZAU_ND_{isochrones}.cont")
    line_wave, line_axes, line = _read_cloudy(folder / f"ZAU_ND_{isochrones}.lines")
    if any(not np.array_equal(a, b) for a, b in zip(axes, line_axes, strict=True)):
        raise SetupError(f"{folder}: continuum and line tables differ in their axes; restore them.")
    logz, age, logu = axes
    return {
        "neb_logz": logz,
        "neb_log_age": np.log10(age),
        "neb_logu": logu,
        "neb_logcont": interpolate(cont_wave, np.log10(cont + _NEBULAR_FLOOR), wave),
        "neb_logline": np.log10(line + _NEBULAR_FLOOR),
        "line_wave": line_wave,
    }


def read_dust_emission(home, model, wave):
    """Dust-emission templates of one model on `wave`, zero blueward of 1 um."""
    if model not in _DUST_AXES:
        raise SetupError(f"FSPS is built with dust emission {model!r}; known: {list(_DUST_AXES)}.")
    qpah, umin = (np.array(a, np.float32).astype(float) for a in _DUST_AXES[model])
    out = np.zeros((qpah.size, umin.size, 2, wave.size))
    first = max(int(locate(wave / 1e4, 1.0)) - 1, 0)
    for i in range(qpah.size):
        path = home / "dust" / "dustem" / f"{model}_MW3.1_{10 * i:02d}.dat"
        table = np.loadtxt(_require(path, "dust emission"), skiprows=2)
        if table.shape[1] != 1 + 2 * umin.size:
            raise SetupError(f"{path} holds {table.shape[1] - 1} spectra, not {2 * umin.size}.")
        lnu = interpolate(table[:, 0] * 1e4, table[:, 1:].T, wave[first:])
        out[i, ..., first:] = lnu.reshape(umin.size, 2, -1)
    return {"dust_qpah": qpah, "dust_umin": umin, "dust_lnu": out}


def read_agn(home, wave):
    """AGN torus templates (Nenkova et al. 2008) on `wave`, zero outside their range."""
    path = home / "dust" / "Nenkova08_y010_torusg_n10_q2.0.dat"
    with open(_require(path, "AGN torus")) as file:
        rows = [line.split() for line in file if not line.lstrip().startswith("#")]
    tau, table = np.array(rows[0], dtype=float), np.array(rows[1:], dtype=float)
    first = max(int(locate(wave, table[0, 0])) - 1, 0)
    last = int(locate(wave, table[-1, 0]))
    out = np.zeros((tau.size, wave.size))
    log_lnu = np.log10(table[:, 1:].T + _AGN_FLOOR)
    inside = np.log10(wave[first:last])
    out[:, first:last] = 10.0 ** interpolate(np.log10(table[:, 0]), log_lnu, inside) - _AGN_FLOOR
    return {"agn_tau": tau, "agn_lnu": out}
