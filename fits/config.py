"""Reading a campaign's TOML file: it is checked completely before anything runs."""

import difflib
import math
import tomllib
import types
import typing
from dataclasses import MISSING, fields, replace
from pathlib import Path

from ..errors import SetupError
from ..fit.certificate import MIN_EFFECTIVE
from ..prospector.redshift_prior import OWN, WORDS
from ..sampling.settings import PRESETS
from .sections import Config

_NUMBER = (int, float)
_POSITIVE = ("fit.dlogz", "fit.max_error", "fit.max_seconds", "catalog.mips_factor")
_CHOICES = {
    "catalog.kind": ("3dhst", "table", "mocks"),
    "catalog.layout": ("", "uncover"),
    "executor.kind": ("local", "dask", "slurm"),
    "select.unknown_bands": ("refuse", "mask"),
    "fit.moves": ("learnt", "differences", "ellipsoid"),
    "fit.preset": tuple(PRESETS),
    "fit.sampler": ("nested", "amortised"),
}
# Settings of one kind of catalog alone.
_OF_KIND = dict.fromkeys(
    ("field", "zeropoints", "mips_factor", "mask_lyman_alpha", "mask_negative"), "3dhst"
) | dict.fromkeys((
    "id_column", "zred_column", "zred_error_column", "zred_prior", "magnification", "unit",
    "spectrum", "spectra", "band_columns", "bands", "layout", "missing", "ebv_column",
), "table")  # fmt: skip
SPECTRA = (
    "resolution", "polyorder", "spectrum_unit", "wave_unit", "air", "degrade", "spectrum_floor"
)  # fmt: skip
_LOWEST = {
    "repeats": 1, "retries": 0, "seed": 0, "fit.nlive": 2, "fit.walks": 1, "fit.n_eff": 1,
    "fit.max_runs": 1, "fit.max_batch": 0, "fit.certificate": 0, "fit.draws": 0,
    "fit.max_calls": 1, "executor.workers": 1, "executor.chunks": 1, "fit.queue_size": 1,
    "catalog.mask_negative": 0, "select.min_bands": 1, "select.limit": 1, "select.seed": 0,
}  # fmt: skip


def read_config(path):
    """Read and check a TOML file.

    Returns
    -------
    Config
        With paths made absolute.

    Raises
    ------
    SetupError
        If the file cannot be read, or a setting is unknown, missing or of
        another type; it is named.
    """
    path = Path(path)
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as err:
        raise SetupError(f"Cannot read {path} ({err.strerror}); check the path.") from err
    except (ValueError, RecursionError) as err:
        raise SetupError(f"{path} is not valid TOML ({err}); correct it.") from err
    return parse_config(data, path.parent, str(path))


def parse_config(data, folder=".", where="the configuration"):
    """A `Config` from dictionaries; `folder` is what relative paths start from."""
    fit = data.get("fit")
    if isinstance(fit, dict) and (fit.get("model") or fit.get("params")):
        data = {"emulators": ["exact"], **data}
    config = _build(Config, data, "", where)
    folder = Path(folder).absolute()
    catalog = replace(config.catalog, path=str(folder / config.catalog.path))
    if catalog.zred_prior not in ("", OWN) and not catalog.zred_prior.startswith(WORDS):
        catalog = replace(catalog, zred_prior=str(folder / catalog.zred_prior))
    if "." in catalog.magnification and not _is_number(catalog.magnification):
        catalog = replace(catalog, magnification=str(folder / catalog.magnification))
    for name in data["catalog"]:
        if _OF_KIND.get(name, catalog.kind) != catalog.kind:
            raise SetupError(
                f"{where}: catalog.{name} does nothing for catalogs of kind {catalog.kind!r}, only "
                f"for {_OF_KIND[name]!r}; remove it."
            )
    if catalog.spectrum and (tuple(config.emulators) != ("exact",) or config.fit.params):
        raise SetupError(
            f"{where}: catalog.spectrum needs emulators = ['exact'], and the 18-parameter model or "
            "fit.model; set these, or leave the spectra out."
        )
    unknown = sorted(set(catalog.spectra or {}) - set(SPECTRA))
    if unknown:
        raise SetupError(
            f"{where}: catalog.spectra.{unknown[0]} is unknown; known: {', '.join(SPECTRA)}."
        )
    fit = config.fit
    for name in ("tables", "params"):
        path = getattr(fit, name)
        if path:
            fit = replace(fit, **{name: str(folder / path)})
            if not _is_file(folder / path):
                raise SetupError(f"{where}: there is no file fit.{name} = {path!r}; correct it.")
    if fit.proposal and _is_file(folder / fit.proposal):
        fit = replace(fit, proposal=str((folder / fit.proposal).resolve()))
    if (fit.sampler == "amortised") != bool(fit.proposal):
        raise SetupError(
            f'{where}: fit.sampler = "amortised" and fit.proposal belong together; give both or '
            "neither."
        )
    if fit.model and fit.params:
        raise SetupError(f"{where}: fit.model and fit.params are two models; give one of them.")
    if fit.params_options and not fit.params:
        raise SetupError(f"{where}: fit.params_options belong to fit.params; remove them.")
    if 0 < fit.certificate < 2 * MIN_EFFECTIVE:
        raise SetupError(
            f"{where}: fit.certificate = {fit.certificate} is too few draws; give "
            f"{2 * MIN_EFFECTIVE} or more, or 0 for no certificate."
        )
    for band, factor in (catalog.zeropoints or {}).items():
        if type(factor) not in _NUMBER or not 0.0 < factor < math.inf:
            raise SetupError(
                f"{where}: catalog.zeropoints.{band} = {factor!r} must be a positive number."
            )
    for column, bounds in config.select.range.items():
        pair = isinstance(bounds, list) and [type(b) in _NUMBER for b in bounds] == [True, True]
        if not pair or not bounds[0] <= bounds[1]:
            raise SetupError(f"{where}: select.range.{column} must be [lowest, highest].")
    for column, value in config.select.equal.items():
        if type(value) not in (str, bool, *_NUMBER) or value != value:
            raise SetupError(
                f"{where}: select.equal.{column} = {value!r} must be one text, number or truth "
                "value; give others in select.range or select.ids."
            )
    floor = catalog.error_floor
    if floor is not None and not 0.0 <= floor < 1.0:
        raise SetupError(
            f"{where}: catalog.error_floor = {floor:g} is not a fraction; 5 % is written 0.05."
        )
    emulators = tuple(
        str((folder / e).resolve()) if _is_file(folder / e) else e for e in config.emulators
    )
    if not emulators:
        raise SetupError(f"{where}: emulators is empty; name at least one.")
    if len(set(emulators)) < len(emulators):
        raise SetupError(f"{where}: emulators names one twice; use repeats for repeated fits.")
    return replace(
        config, catalog=catalog, emulators=emulators, fit=fit, output=str(folder / config.output)
    )


def _is_number(text):
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False


def _is_file(path):
    try:
        return path.is_file()
    except OSError:  # a name too long to be one
        return False


def _build(cls, data, prefix, where):
    """An instance of a configuration class; every fault is named with its dotted key."""
    known = {f.name: f for f in fields(cls)}
    hints = typing.get_type_hints(cls)
    for key in data:
        if key not in known:
            near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"did you mean {prefix}{near[0]}?" if near else f"known: {', '.join(known)}."
            raise SetupError(f"{where}: the setting {prefix}{key} is unknown; {hint}")
    values = {}
    for key, spec in known.items():
        name = prefix + key
        if key not in data:
            if spec.default is MISSING and spec.default_factory is MISSING:
                raise SetupError(f"{where} lacks the setting {name}; add it.")
            continue
        values[key] = _value(hints[key], data[key], name, where)
    return cls(**values)


def _value(hint, value, name, where):
    if hasattr(hint, "__dataclass_fields__"):
        if not isinstance(value, dict):
            raise SetupError(f"{where}: {name} must be a section, [{name}].")
        return _build(hint, value, f"{name}.", where)
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if tuple in options and isinstance(value, list):
        wanted = {"select.ids": (str, int), "catalog.missing": _NUMBER}.get(name, (str,))
        for item in value:
            if not isinstance(item, wanted) or any(ord(c) < 32 for c in str(item)):
                raise SetupError(
                    f"{where}: {name} holds {item!r}; it must hold "
                    f"{'numbers' if wanted == _NUMBER else 'texts of one line'}."
                )
        return tuple(value)
    if float in options and type(value) in _NUMBER:
        value = float(value)
    elif not any(type(value) is option for option in options):
        wanted = " or ".join(o.__name__ for o in options if o is not type(None))
        raise SetupError(
            f"{where}: {name} = {value!r} must be a {wanted.replace('tuple', 'list')}."
        )
    if value is None:
        return None
    if isinstance(value, str) and any(ord(c) < 32 for c in value):
        raise SetupError(f"{where}: {name} = {value!r} holds a line break or the like; remove it.")
    if name in _POSITIVE and not 0.0 < value < math.inf:
        raise SetupError(f"{where}: {name} = {value} must be a positive number.")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise SetupError(
            f"{where}: {name} = {value!r} is unknown; use {', '.join(_CHOICES[name])}."
        )
    if name in _LOWEST and not value >= _LOWEST[name]:
        raise SetupError(f"{where}: {name} = {value} is too small; give {_LOWEST[name]} or more.")
    return value
