"""Dust grains as DustEM's files describe them: composition, optics and heat capacities.

Readers of the text formats of DustEM 4 (Compiegne et al. 2011). Sizes in the
files are in micron; here every length of a grain is in cm, every wavelength in
micron, everything else in cgs.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from prospect_emu.errors import DataError
from prospect_emu.sps.constants import between, find_cell

# Size distributions, and the numbers that describe a population of each.
_KINDS = {"plaw": 5, "plaw-ed": 8, "logn": 6}


@dataclass(frozen=True)
class Population:
    """One size distribution of one material.

    Attributes
    ----------
    material : str
        Name of its optics and heat-capacity files.
    kind : {"plaw-ed", "plaw", "logn"}
    mass : float
        Dust over hydrogen mass.
    density : float
        g/cm3.
    a_min, a_max : float
        cm.
    shape : tuple of float
        "plaw": exponent of dn/da; "plaw-ed": exponent, a_t, a_c, gamma; "logn":
        a_0, sigma.
    """

    material: str
    kind: str
    mass: float
    density: float
    a_min: float
    a_max: float
    shape: tuple

    def volume_density(self, a):
        """``a**3 dn/dlna`` at radii `a` (cm), in arbitrary units, limits not applied."""
        if self.kind == "logn":
            a0, sigma = self.shape
            return a**3 * np.exp(-0.5 * (np.log(a / a0) / sigma) ** 2)
        out = a ** (4.0 + self.shape[0])
        if self.kind == "plaw-ed":
            _, a_t, a_c, gamma = self.shape
            out = out * np.exp(-((np.maximum(a - a_t, 0.0) / a_c) ** gamma))
        return out


@dataclass(frozen=True)
class Material:
    """Optics and heat capacity of one material.

    Attributes
    ----------
    name : str
    sizes : ndarray, shape (nsize,)
        cm.
    wave : ndarray, shape (nwave,)
        micron.
    q_abs : ndarray, shape (nsize, nwave)
    heat_sizes : ndarray, shape (nheat,)
        cm.
    log_t : ndarray, shape (nt,)
        log10 of the temperature in K.
    log_c : ndarray, shape (nheat, nt)
        log10 of the heat capacity in erg/K/cm3.
    """

    name: str
    sizes: np.ndarray
    wave: np.ndarray
    q_abs: np.ndarray
    heat_sizes: np.ndarray
    log_t: np.ndarray
    log_c: np.ndarray

    def absorption(self, a):
        """C_abs in cm2 of radii `a` (cm), shape (len(a), nwave): Q is linear in the radius."""
        return np.pi * a[:, None] ** 2 * _linear_in_size(self.sizes, self.q_abs, a)

    def heat_capacity(self, a):
        """log10 of C in erg/K/cm3 of radii `a` (cm) on `log_t`: linear in the radius."""
        return _linear_in_size(self.heat_sizes, self.log_c, a)


@dataclass(frozen=True)
class DustModel:
    """Populations and the materials they are made of."""

    name: str
    populations: tuple
    materials: dict

    @property
    def wave(self):
        """Wavelengths of the optics, micron."""
        return next(iter(self.materials.values())).wave

    @property
    def dust_to_hydrogen(self):
        """Mass of dust over mass of hydrogen."""
        return sum(p.mass for p in self.populations)


def _linear_in_size(nodes, table, a):
    return between(table, *find_cell(nodes, a))


def _lines(path):
    path = Path(path)
    try:
        text = path.read_text()
    except OSError as err:
        raise DataError(
            f"{path} cannot be read ({err.strerror}); pass the folder that holds the DustEM files "
            "of the dust model."
        ) from err
    except UnicodeDecodeError as err:
        raise DataError(f"{path} is not a text file; pass a DustEM table.") from err
    return [s for line in text.splitlines() if (s := line.strip()) and not s.startswith("#")]


def _numbers(path, lines, first):
    try:
        rows = [np.array(line.split(), dtype=float) for line in lines[first:]]
        table = np.array(rows)
    except ValueError as err:
        raise DataError(f"{path} is truncated or no DustEM table ({err}); copy it again.") from err
    if not np.isfinite(table).all():
        raise DataError(f"{path} holds values that are not finite; copy it again.")
    return table


def _counted(path, lines, row):
    """The integer that a line of a DustEM file holds."""
    try:
        return int(lines[row])
    except (IndexError, ValueError) as err:
        raise DataError(f"{path} is truncated or no DustEM table ({err}); copy it again.") from err


def read_wavelengths(path):
    """``LAMBDA.DAT``: wavelengths in micron."""
    lines = _lines(path)
    wave = _numbers(path, lines, 1).ravel()
    _expect(path, wave.size, _counted(path, lines, 0), "wavelengths")
    if not (np.diff(wave) > 0).all():
        raise DataError(f"{path}: the wavelengths do not increase; copy it again.")
    return wave


def _expect(path, found, wanted, what):
    if found != wanted:
        raise DataError(f"{path} holds {found} {what} in place of {wanted}; it is truncated.")


def read_field(path):
    """``ISRF*.DAT``: wavelengths in micron and ``4 pi I_nu`` in erg/s/cm2/Hz."""
    lines = _lines(path)
    table = _numbers(path, lines, 1)
    _expect(path, len(table), _counted(path, lines, 0), "points")
    _expect(path, table.shape[-1], 2, "columns")
    return table[:, 0], table[:, 1]


def read_material(folder, name, wave):
    """``Q_<name>.DAT`` and ``C_<name>.DAT``, for the wavelengths of ``LAMBDA.DAT``."""
    path = Path(folder) / f"Q_{name}.DAT"
    lines = _lines(path)
    n = _counted(path, lines, 0)
    table = _numbers(path, lines, 1)
    # Sizes, then Q_abs, then Q_sca, which nothing here needs.
    _expect(path, table.shape[-1], n, "sizes")
    _expect(path, len(table) - 1, 2 * wave.size, "rows of Q_abs and Q_sca")
    sizes, q_abs = table[0] * 1e-4, table[1 : 1 + wave.size].T

    path = Path(folder) / f"C_{name}.DAT"
    lines = _lines(path)
    n = _counted(path, lines, 0)
    heat_sizes = _numbers(path, lines[1:2], 0)[0] * 1e-4
    _expect(path, heat_sizes.size, n, "sizes")
    rows = _numbers(path, lines, 3)
    _expect(path, len(rows), _counted(path, lines, 2), "temperatures")
    _expect(path, rows.shape[-1] - 1, n, "sizes")
    return Material(name, sizes, wave, q_abs, heat_sizes, rows[:, 0], rows[:, 1:].T)


def read_composition(path):
    """``GRAIN*.DAT``: the populations of a dust model."""
    populations = []
    for line in _lines(path):
        words = line.split()
        if len(words) < 8 or words[2] not in _KINDS:
            continue
        try:
            v = [float(w) for w in words[3:]]
        except ValueError as err:
            raise DataError(f"{path}: {line!r} is not a population ({err}).") from err
        _expect(path, len(v), _KINDS[words[2]], "numbers of a population")
        populations.append(Population(words[0], words[2], *v[:4], tuple(v[4:])))
    if not populations:
        raise DataError(
            f"{path} names no population that is known here ({', '.join(_KINDS)}); pass a DustEM "
            "GRAIN file."
        )
    return tuple(populations)


def read_dust_model(folder, composition="GRAIN_J13.DAT"):
    """A dust model from a folder with LAMBDA.DAT, Q_*.DAT, C_*.DAT and a GRAIN file.

    Parameters
    ----------
    folder : path-like
    composition : str
        Name of the GRAIN file in it.

    Raises
    ------
    DataError
        If a file is missing, truncated or foreign.
    """
    folder = Path(folder)
    wave = read_wavelengths(folder / "LAMBDA.DAT")
    populations = read_composition(folder / composition)
    names = dict.fromkeys(p.material for p in populations)
    materials = {name: read_material(folder, name, wave) for name in names}
    return DustModel(Path(composition).stem, populations, materials)
