"""Tables that the dust commands write, as ECSV, CSV or FITS.

ECSV and CSV are written without astropy, whose import would take longer than the command.
"""

import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..errors import OutputError
from ..files import check_writable, write_atomic
from .dust_emulator import LUMINOSITY_UNIT, PARAMETERS, UNITS

_TABLES = (".ecsv", ".csv", ".fits")


@dataclass
class Output:
    """Columns of equal length, their units, and what describes the table.

    Attributes
    ----------
    columns : dict of str to array_like, shape (n,)
        Numbers or text.
    units : dict of str to str
        Of the columns that have one.
    meta : dict
        JSON-serialisable. FITS keeps what is not a list.
    more : dict of str to Output
        Further tables, which FITS alone can hold. There, columns may have rows of arrays.
    """

    columns: dict
    units: dict = field(default_factory=dict)
    meta: dict = field(default_factory=dict)
    more: dict = field(default_factory=dict)

    def ecsv(self):
        """The table as ECSV text; numbers read back exactly."""
        lines = ["# %ECSV 1.0", "# ---", "# datatype:"]
        for name, values in self.columns.items():
            kind = "float64" if _numeric(values) else "string"
            unit = f", unit: {self.units[name]}" if self.units.get(name) else ""
            lines.append(f"# - {{name: {name}{unit}, datatype: {kind}}}")
        if self.meta:
            # JSON is YAML, which ECSV wants.
            lines.append(f"# meta: {json.dumps(self.meta)}")
        lines.append("# schema: astropy-2.0")
        return "\n".join(lines) + "\n" + self._rows(" ")

    def csv(self):
        """The table as CSV text, without units."""
        return self._rows(",")

    def _rows(self, separator):
        columns = [
            [repr(float(v)) for v in c] if _numeric(c) else [f'"{v}"' for v in c]
            for c in self.columns.values()
        ]
        rows = [list(self.columns), *zip(*columns, strict=True)]
        return "".join(separator.join(row) + "\n" for row in rows)

    def fits(self):
        """The table as bytes of a FITS file."""
        from astropy.io import fits

        data = io.BytesIO()
        others = [table._hdu(name) for name, table in self.more.items()]
        fits.HDUList([fits.PrimaryHDU(), self._hdu(), *others]).writeto(data)
        return data.getvalue()

    def _hdu(self, name=None):
        from astropy.io import fits
        from astropy.table import Table

        table = Table({k: np.asarray(v) for k, v in self.columns.items()})
        for column, unit in self.units.items():
            table[column].unit = unit or None
        hdu = fits.table_to_hdu(table)
        if name:
            hdu.name = name
        for key, value in self.meta.items():
            if isinstance(value, (str, int)) or (isinstance(value, float) and np.isfinite(value)):
                hdu.header[key.upper()[:8]] = value
        return hdu

    def text(self):
        """The table to read on a screen: four digits, aligned."""
        cells = [
            [name, self.units.get(name, ""), *(_short(v) for v in values)]
            for name, values in self.columns.items()
        ]
        if not any(c[1] for c in cells):
            cells = [[c[0], *c[2:]] for c in cells]
        wide = [max(map(len, c)) for c in cells]
        rows = zip(*cells, strict=True)
        return "\n".join(
            "  ".join(v.rjust(w) for v, w in zip(row, wide, strict=True)) for row in rows
        )

    def write(self, path, overwrite=False):
        """Write in the format that the ending of `path` names, atomically."""
        path = Path(path)
        check_format(path, "table")
        check_writable(path, overwrite)
        if path.suffix == ".fits":
            write_atomic(path, self.fits())
        else:
            text = self.ecsv() if path.suffix == ".ecsv" else self.csv()
            write_atomic(path, text.encode())


def _numeric(values):
    return np.asarray(values).dtype.kind in "fiu"


def _short(value):
    return value if isinstance(value, str) else f"{value:.4g}"


def check_format(path, kinds):
    """Raise `OutputError` unless the ending of `path` names a format of `kinds`."""
    allowed = [*(_TABLES if "table" in kinds else ()), *((".png",) if "png" in kinds else ())]
    if Path(path).suffix not in allowed:
        raise OutputError(f"{path} has no known ending; use one of {', '.join(allowed)}.")


def _meta(emulator):
    return {"emulator": emulator.name, "sha256": emulator.manifest.get("sha256", "")}


def _value_name(unit):
    return "flux" if unit == "Jy" else "luminosity"


def _described(models):
    return [dict(zip(PARAMETERS, map(float, m), strict=True)) for m in zip(*models, strict=True)]


def spectrum_table(emulator, models, emission, unit=LUMINOSITY_UNIT, rows=False):
    """Emission (n, nwave): a row per wavelength, and a column per model if there are several.

    With `rows`, for FITS, which cannot have many columns: a row for each of several models,
    with its spectrum as one entry, and the wavelengths in a table of their own.
    """
    name = _value_name(unit)
    if rows and len(emission) > 1:
        wave = Output({"wavelength": emulator.wavelengths}, {"wavelength": "um"})
        units = dict(zip(PARAMETERS, UNITS, strict=True)) | {name: unit}
        columns = dict(zip(PARAMETERS, models, strict=True)) | {name: emission}
        return Output(columns, units, _meta(emulator), {"WAVELENGTH": wave})
    many = len(emission) > 1
    columns = {f"{name}_{i + 1}" if many else name: row for i, row in enumerate(emission)}
    units = {"wavelength": "um"} | dict.fromkeys(columns, unit)
    meta = _meta(emulator) | {"models": _described(models)}
    return Output({"wavelength": emulator.wavelengths, **columns}, units, meta)


def photometry_table(emulator, models, emission, unit=LUMINOSITY_UNIT):
    """Emission (n, nband): a row per band for one model, else a row per model."""
    if len(emission) == 1:
        name = _value_name(unit)
        columns = {
            "band": list(emulator.band_names),
            "wavelength": emulator.band_wavelengths,
            name: emission[0],
        }
        meta = _meta(emulator) | {"models": _described(models)}
        return Output(columns, {"wavelength": "um", name: unit}, meta)
    bands = dict(zip(emulator.band_names, emission.T, strict=True))
    units = dict(zip(PARAMETERS, UNITS, strict=True)) | dict.fromkeys(bands, unit)
    return Output({**dict(zip(PARAMETERS, models, strict=True)), **bands}, units, _meta(emulator))


def band_list(emulator):
    """The bands, their reference wavelengths and conventions."""
    columns = {
        "band": [b["name"] for b in emulator.bands],
        "wavelength": [float(b["reference"]) for b in emulator.bands],
        "reference_spectrum": [b["shape"] for b in emulator.bands],
        "curve_sha256": [b["hash"][:16] for b in emulator.bands],
    }
    return Output(columns, {"wavelength": "um"})


def summary_table(posterior, points, solar=None):
    """A row per parameter: best, median, 68 and 95 % intervals, correlations of logarithms.

    Parameters
    ----------
    posterior : DustPosterior
    points : int
        Number of data.
    solar : float, optional
        Data of a solar mass of dust of 1 W/Hz/kg: adds the row "mass".
    """
    names, units = list(PARAMETERS), list(UNITS)
    if solar is not None:  # the mass is a fourth parameter
        names, units = [*names, "mass"], [*units, "solMass"]
        mass, best = (m - np.log10(solar) for m in (posterior.log_mass, posterior.best_log_mass))
        posterior = replace(
            posterior,
            samples=np.column_stack([posterior.samples, mass]),
            best=np.append(posterior.best, best),
        )
    columns = {"parameter": names, "unit": units, "best": 10.0**posterior.best}
    levels = ("p2.5", "p16", "median", "p84", "p97.5")
    columns |= dict(zip(levels, posterior.quantiles(), strict=True))
    columns |= {f"r_{n}": c for n, c in zip(names, posterior.correlation, strict=True)}
    meta = {"chi2": posterior.chi2, "points": points, "logz": posterior.logz}
    return Output(columns, {}, meta | {"status": posterior.status})


def estimate_table(mean, sigma):
    """A row per parameter of what `dust_network.estimate` says of one source."""
    columns = {"parameter": list(PARAMETERS), "unit": list(UNITS)}
    columns |= {"p16": 10.0 ** (mean - sigma), "median": 10.0**mean, "p84": 10.0 ** (mean + sigma)}
    return Output(columns)


def samples_table(posterior, solar=None):
    """Posterior samples: parameters in their own units, the mass if it is free, ln likelihood.

    Of the mass: the logarithm of solar masses where `solar` is given (see `summary_table`), else
    of the factor from W/Hz/kg to the data.
    """
    columns = dict(zip(PARAMETERS, 10.0**posterior.samples.T, strict=True))
    if solar is not None:
        columns["log10_mass"] = posterior.log_mass - np.log10(solar)
    elif np.any(posterior.log_mass):
        columns["log10_scale"] = posterior.log_mass
    columns["log_likelihood"] = posterior.log_likelihood
    return Output(columns, dict(zip(PARAMETERS, UNITS, strict=True)))
