"""A campaign's configuration: one TOML file, checked completely before anything runs."""

import difflib
import math
import tomllib
import types
import typing
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from pathlib import Path

from ..errors import SetupError
from ..fit.certificate import MIN_EFFECTIVE
from ..prospector.redshift_prior import WORDS
from ..sampling.settings import PRESETS

_NUMBER = (int, float)


@dataclass(frozen=True)
class CatalogConfig:
    """``[catalog]``: where the photometry comes from.

    Attributes
    ----------
    kind : str
        "3dhst" (a folder), "table" (one file with a column map) or "mocks"
        (a file of `prospect_emu.fits.mocks`).
    path : str
        Relative to the TOML file. ``file.fits[NAME]`` is one of several tables in a file.
    error_floor : float
        Fraction of the flux added to each error in quadrature; 0.05 unless given, and 0 for
        mocks, whose errors are those of their noise.
    keep : tuple of str
        Catalog columns to copy into the results table.
    field, zeropoints, mips_factor, mask_lyman_alpha, mask_negative
        Of 3D-HST, see `prospect_emu.fits.threedhst.galaxy_obs`.
    id_column, zred_column
        Of a table; ids are kept as they are written there. "" for no redshifts.
    zred_error_column : str
        Of a table: where its value is positive, the redshift is free with a normal prior about
        `zred_column`; where it is 0 or missing, that is the redshift.
    zred_prior : str
        Of a table: prior of the redshift of galaxies without one, as in ``prospect-emu fit
        --zred-prior``. ``{id}`` in a file's name stands for the galaxy's id.
    magnification : str
        Of a table: a column of magnifications by lensing (missing is none), a number, or a file
        with the columns z and magnification; ``{id}`` in its name stands for the galaxy's id.
        Masses, rates and luminosities are then those of the source.
    unit : str
        Of flux columns that have none of their own.
    band_columns : tuple of str
        Of a table, instead of `bands`: how columns of flux and error are named, such as
        ``["f_{band}", "e_{band}"]``, with names of HST and JWST (f444w) or sedpy's.
    bands : dict
        Of a table: filter -> ``flux`` and ``error``, its columns; optionally ``unit``, ``floor``
        (instead of `error_floor`), ``use`` and ``upper_limit``, columns of true and false.

    Settings of another kind of catalog are refused.
    """

    kind: str
    path: str
    error_floor: float | None = None
    keep: tuple = ()
    field: str = "cosmos"
    zeropoints: dict | None = None
    mips_factor: float | None = None
    mask_lyman_alpha: bool = True
    mask_negative: float = 2.0
    id_column: str = "id"
    zred_column: str = "zred"
    zred_error_column: str = ""
    zred_prior: str = ""
    magnification: str = ""
    unit: str = ""
    band_columns: tuple = ()
    bands: dict | None = None

    @property
    def floor(self):
        """`error_floor`, or its default."""
        if self.error_floor is not None:
            return self.error_floor
        return 0.0 if self.kind == "mocks" else 0.05


@dataclass(frozen=True)
class SelectConfig:
    """``[select]``: which galaxies are fitted.

    Attributes
    ----------
    ids : tuple
        Only these.
    range : dict
        Column -> [lowest, highest], both allowed.
    equal : dict
        Column -> value.
    min_bands : int
        Unmasked bands that a galaxy must have.
    limit : int, optional
        This many of the selected ones, drawn at random with `seed`.
    seed : int
    unknown_bands : str
        "refuse" a campaign whose catalog has bands that an emulator does not
        know, or "mask" them in the fits with that emulator.
    """

    ids: tuple = ()
    range: dict = field(default_factory=dict)
    equal: dict = field(default_factory=dict)
    min_bands: int = 5
    limit: int | None = None
    seed: int = 0
    unknown_bands: str = "refuse"


@dataclass(frozen=True)
class FitConfig:
    """``[fit]``: how each fit is made.

    Attributes
    ----------
    model : tuple of str
        Prospector's templates, joined in this order; the redshift is the catalog's. Without
        this and `params`, the 18-parameter model.
    params : str
        Instead: a parameter file of Prospector, relative to the TOML file, whose ``build_model``
        is called with ``zred`` and ``object_redshift`` of each galaxy.
    params_options : tuple of str
        Options of that file, such as "--add_neb=True".
    preset : str
        "quick", "standard" or "careful": what is not set below
        (`prospect_emu.sampling.settings.PRESETS`).
    nlive, walks, moves, dlogz, n_eff, max_error, max_runs : optional
        See `prospect_emu.sampling.settings.NestedSettings`; "fsps", which Prospector samples,
        has dynesty's moves, and is not repeated.
    max_batch : int, optional
        Batches after the initial run; 0 for a static run.
    max_calls : int, optional
        Budget of likelihood calls; a fit that ends on it is "stalled".
    max_seconds : float, optional
        Budget of wall time. Unlike `max_calls` it makes results depend on the
        machine's load.
    queue_size : int, optional
    inflate : bool
        Add the emulator's error to the observed one.
    certificate : int
        Compare this many posterior draws of each fit with exact fluxes, see
        `prospect_emu.fit.certificate`; 0 for none.
    tables : str
        ExactSPS tables for that, relative to the TOML file.
    draws : int
        Keep this many draws of each posterior in its file instead of all nested samples: 1000
        take a tenth of the space. The results table is made of all samples nevertheless.
        0 for all.
    restframe : tuple of str
        Rest-frame magnitudes and colours to derive: filters, two joined by "-" for a colour,
        "M_UV", or "UVJ"; see `prospect_emu.fit.restframe.columns_of`.
    """

    model: tuple = ()
    params: str = ""
    params_options: tuple = ()
    preset: str = "standard"
    nlive: int | None = None
    walks: int | None = None
    moves: str | None = None
    dlogz: float | None = None
    n_eff: int | None = None
    max_error: float | None = None
    max_runs: int | None = None
    max_batch: int | None = None
    max_calls: int | None = None
    max_seconds: float | None = None
    queue_size: int | None = None
    inflate: bool = True
    certificate: int = 0
    tables: str = ""
    draws: int = 0
    restframe: tuple = ()

    @property
    def other_model(self):
        """Whether another model than that of 18 parameters is fitted."""
        return bool(self.model or self.params)


@dataclass(frozen=True)
class ExecutorConfig:
    """``[executor]``: where the fits run. Nothing here changes a result.

    Attributes
    ----------
    kind : str
        "local" (processes), "dask" or "slurm" (job arrays).
    workers : int
        Local processes, or Dask workers that are started, or fits at a time in
        each task of a Slurm array.
    address : str
        Of an existing Dask scheduler.
    jobqueue : str
        A cluster class of dask-jobqueue ("SLURMCluster", "PBSCluster", ...).
    options : dict
        For the Dask cluster's class.
    chunks : int
        Tasks of the Slurm array.
    sbatch : tuple of str
        Further ``#SBATCH`` lines, such as "--time=04:00:00".
    setup : tuple of str
        Shell lines before the fits, such as "module load python".
    """

    kind: str = "local"
    workers: int = 1
    address: str = ""
    jobqueue: str = ""
    options: dict = field(default_factory=dict)
    chunks: int = 10
    sbatch: tuple = ()
    setup: tuple = ()


@dataclass(frozen=True)
class Config:
    """A campaign.

    Attributes
    ----------
    catalog, select, fit, executor
        The sections.
    emulators : tuple of str
        Names or files of emulators, "exact" or "fsps"; see `prospect_emu.fits.backends`. With
        ``fit.model`` or ``fit.params`` it is ["exact"], and need not be given.
    output : str
        Folder of the results, relative to the TOML file.
    name : str
    repeats : int
        Fits of each galaxy with each emulator, with different seeds.
    seed : int
        A fit's seed is made from this, the galaxy's id and the repeat.
    retries : int
        Further attempts at a fit that failed by no fault of its data.
    """

    catalog: CatalogConfig
    emulators: tuple
    output: str
    select: SelectConfig = field(default_factory=SelectConfig)
    fit: FitConfig = field(default_factory=FitConfig)
    executor: ExecutorConfig = field(default_factory=ExecutorConfig)
    name: str = "campaign"
    repeats: int = 1
    seed: int = 0
    retries: int = 2

    def as_dict(self):
        """Plain dictionaries, for JSON."""
        return asdict(self)


_POSITIVE = ("fit.dlogz", "fit.max_seconds", "catalog.mips_factor")
_CHOICES = {
    "catalog.kind": ("3dhst", "table", "mocks"),
    "executor.kind": ("local", "dask", "slurm"),
    "select.unknown_bands": ("refuse", "mask"),
    "fit.moves": ("learnt", "differences", "ellipsoid"),
    "fit.preset": tuple(PRESETS),
}
# Settings of one kind of catalog alone.
_OF_KIND = dict.fromkeys(
    ("field", "zeropoints", "mips_factor", "mask_lyman_alpha", "mask_negative"), "3dhst"
) | dict.fromkeys(
    (
        "id_column",
        "zred_column",
        "zred_error_column",
        "zred_prior",
        "magnification",
        "unit",
        "band_columns",
        "bands",
    ),
    "table",
)
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
        data = tomllib.loads(path.read_text())
    except OSError as err:
        raise SetupError(f"Cannot read {path} ({err.strerror}); check the path.") from err
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
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
    if catalog.zred_prior and not catalog.zred_prior.startswith(WORDS):
        catalog = replace(catalog, zred_prior=str(folder / catalog.zred_prior))
    if "." in catalog.magnification and not catalog.magnification[0].isdigit():
        catalog = replace(catalog, magnification=str(folder / catalog.magnification))
    for name in data["catalog"]:
        if _OF_KIND.get(name, catalog.kind) != catalog.kind:
            raise SetupError(
                f"{where}: catalog.{name} does nothing for catalogs of kind {catalog.kind!r}, only "
                f"for {_OF_KIND[name]!r}; remove it."
            )
    fit = config.fit
    for name in ("tables", "params"):
        path = getattr(fit, name)
        if path:
            fit = replace(fit, **{name: str(folder / path)})
            if not _is_file(folder / path):
                raise SetupError(f"{where}: there is no file fit.{name} = {path!r}; correct it.")
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
            f"{where}: catalog.error_floor = {floor:g} is no fraction; 5 % is written 0.05."
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
        wanted = (str, int) if name == "select.ids" else (str,)
        for item in value:
            if not isinstance(item, wanted) or any(ord(c) < 32 for c in str(item)):
                raise SetupError(f"{where}: {name} holds {item!r}; it must hold texts of one line.")
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
    if name == "name" and any(ord(c) < 32 for c in value):
        raise SetupError(f"{where}: {name} = {value!r} holds a line break; give one line.")
    if name in _POSITIVE and not 0.0 < value < math.inf:
        raise SetupError(f"{where}: {name} = {value} must be a positive number.")
    if name in _CHOICES and value not in _CHOICES[name]:
        raise SetupError(
            f"{where}: {name} = {value!r} is unknown; use {', '.join(_CHOICES[name])}."
        )
    if name in _LOWEST and not value >= _LOWEST[name]:
        raise SetupError(f"{where}: {name} = {value} is too small; give {_LOWEST[name]} or more.")
    return value
