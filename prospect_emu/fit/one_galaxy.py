"""A table of photometry fitted in one call: what `prospect_emu.fit` and the command share."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import DataError, SetupError
from ..networks.loading import load_emulator
from ..networks.proposal import Proposal
from ..networks.vector import DERIVED, PARAMETERS
from ..observe.degrade import degraded
from ..observe.line_fluxes import read_line_fluxes
from ..observe.pixels import spectrum_over_photometry
from ..observe.spectrum_files import line_spread, read_spectrum
from ..observe.tables import read_photometry
from ..parameters import DEFAULTS
from ..prospector.beta_models import OWN, has_own_redshift
from ..prospector.drop_in import EmulatorSpecModel, EmulatorSPS, NetworkSPS
from ..prospector.magnification import describe_magnification
from ..prospector.mathews23 import model_params
from ..prospector.redshift_prior import DEFAULT as DEFAULT_PRIOR
from ..prospector.redshift_prior import describe_prior, redshift_prior
from ..prospector.spectral import spectral_model
from ..prospector.templates import template_model, template_params
from ..prospector.version import adapter
from ..sps.ingredients import find_ingredients
from .fitting import fit_model
from .result import FitResult

DEFAULT_EMULATOR = "mathews23-factored"
PRESET = "mathews23"
# Options of a spectrum.
SPECTRAL = (
    "spectrum", "resolution", "polyorder", "spectrum_unit", "wave_unit", "air", "degrade",
    "spectrum_floor",
)  # fmt: skip
# Those of `prepare`, besides the table.
OPTIONS = (
    "zred", "model", "emulator", "unit", "error_floor", "zred_prior", *SPECTRAL, "magnification",
    "lines",
)  # fmt: skip
# A spectrum and photometry that differ by more than this factor are told of.
_ALIKE = 1.5
# Of 1 + z: over so much a line-spread function changes little.
_NARROW = 0.1


def mock_galaxy() -> Path:
    """Path of the bundled mock galaxy, whose true parameters are known."""
    return Path(str(files("prospect_emu") / "data" / "mock_galaxy.ecsv"))


def prepare(
    table: Any,
    zred: float | str | None = None,
    model: str = PRESET,
    emulator: str | Path | None = None,
    unit: str | None = None,
    error_floor: float = 0.05,
    zred_prior: str | Path | None = None,
    spectrum: str | Path | None = None,
    resolution: str | Path | None = None,
    polyorder: int = 10,
    spectrum_unit: str | None = None,
    wave_unit: str | None = None,
    air: bool | None = None,
    degrade: bool = False,
    spectrum_floor: float = 0.0,
    magnification: float | str | Path | None = None,
    lines: str | Path | None = None,
) -> tuple[dict, Any, EmulatorSPS | NetworkSPS]:
    """Everything that `fit_model` needs for a table of photometry.

    Parameters
    ----------
    table, zred, model, emulator, unit, error_floor, zred_prior, magnification
        As in `fit_table`.
    spectrum, spectrum_unit, wave_unit, air
        A file, and the arguments of `prospect_emu.observe.spectrum_files.read_spectrum`.
    resolution : str or path-like, optional
        Its line-spread function, see `prospect_emu.observe.spectrum_files.line_spread`; by
        default that of the file.
    polyorder : int
        Of the polynomial that calibrates the spectrum; 0 for none.
    degrade : bool
        Whether the spectrum is smoothed to the library's resolution where it is sharper, see
        `prospect_emu.observe.degrade.degraded`.
    spectrum_floor : float
        Fraction of the spectrum's flux added to each error in quadrature.
    lines : path-like, optional
        Fluxes of emission lines to fit as well, see
        `prospect_emu.observe.line_fluxes.read_line_fluxes`.

    Returns
    -------
    obs : dict
    model : prospect.models.SpecModel
    sps : EmulatorSPS or NetworkSPS

    Raises
    ------
    DataError, FilterError, RangeError, ModelMismatchError, SetupError
        If the table, its redshift, the model or the emulator does not fit the others.
    """
    if not isinstance(model, str):
        raise SetupError(f"model = {model!r} must be a text, such as 'parametric_sfh+nebular'.")
    if spectrum is None and (
        resolution or spectrum_unit or wave_unit or air is not None or degrade or spectrum_floor
    ):
        raise SetupError(
            "resolution, spectrum_unit, wave_unit, air, degrade and spectrum_floor are of a "
            "spectrum, and none is given; give one, or leave them out."
        )
    prior = _zred_prior(zred, zred_prior, model)
    obs = read_photometry(
        mock_galaxy() if table is None else table, "free" if prior else zred, unit, error_floor
    )
    if lines is not None:
        obs["lines"] = read_line_fluxes(lines)
    if emulator and (spectrum is not None or lines is not None or model != PRESET):
        what = model if spectrum is lines is None else "a model of a spectrum or lines"
        raise SetupError(
            f"Emulator {emulator} is one of the 18-parameter model, and {what} is computed "
            "exactly; leave it out."
        )
    if magnification is not None:
        magnification = describe_magnification(magnification)
        if spectrum is not None or (prior and emulator):
            raise SetupError(
                "A magnification is not taken with a spectrum, nor with an emulator at a free "
                "redshift; leave out the spectrum or the emulator."
            )
    if spectrum is not None:
        return *with_spectrum(
            obs, spectrum, model, prior, resolution, polyorder, spectrum_unit, wave_unit, air,
            degrade, spectrum_floor,
        ), EmulatorSPS()  # fmt: skip
    if model == PRESET:
        _check_truth(obs.get("truth"), obs["table"])
        params = model_params(obs["zred"], prior, magnification)
        if (prior and not emulator) or lines is not None:
            # No network covers all redshifts, or gives lines.
            return obs, adapter.SpecModel(params), EmulatorSPS()
        network = load_emulator(emulator or DEFAULT_EMULATOR)
        if not prior:
            network.check_redshift(obs["zred"])
        sps = NetworkSPS(network, filters=obs["filters"])
        built = EmulatorSpecModel(params)
        sps.check_model(built)
        return sps.inflate(obs), built, sps
    built, notes = template_model(model, obs["zred"], prior, magnification)
    obs["notes"] = [*obs["notes"], *notes]
    return obs, built, EmulatorSPS()


def _zred_prior(zred, text, model):
    """Prior of a free redshift, or None."""
    free = isinstance(zred, str) and zred == "free"
    if not (free or text):
        return None
    if not free and zred is not None:
        raise SetupError(
            f"The redshift is fixed, at {zred}, and has a prior, {text}; give one of them."
        )
    own = model != PRESET and has_own_redshift(template_params(model)[0])
    return redshift_prior(describe_prior(text or (OWN if own else DEFAULT_PRIOR)))


def with_spectrum(
    obs, spectrum, model=PRESET, prior=None, resolution=None, polyorder=10, spectrum_unit=None,
    wave_unit=None, air=None, degrade=False, spectrum_floor=0.0,
):  # fmt: skip
    """An obs of photometry with a spectrum from a file too, and the model of both.

    Parameters
    ----------
    obs : dict
    spectrum, resolution, polyorder, spectrum_unit, wave_unit, air, degrade, spectrum_floor
        As for `prepare`.
    model : str
    prior : prior, optional
        Of a free redshift.

    Returns
    -------
    obs : dict
    model : prospect.models.SpecModel
    """
    data = read_spectrum(spectrum, spectrum_unit, wave_unit, air)
    return _with_spectrum(obs, data, model, resolution, polyorder, degrade, spectrum_floor, prior)


def _with_spectrum(
    obs, data, model, resolution, polyorder, degrade=False, floor=0.0, prior=None
):  # fmt: skip
    """An obs with a spectrum as it was read, and the model of both."""
    zred = obs["zred"] if prior is None else _middle(prior)
    dispersion, notes = data.pop("dispersion"), data.pop("spectrum_notes")
    if resolution:
        dispersion = line_spread(resolution, data["wavelength"])
    params, more = model_params(obs["zred"], prior), []
    if model != PRESET:
        params, more = template_params(model, obs["zred"], prior)
    imf = int(params.get("imf_type", {"init": DEFAULTS["imf_type"]})["init"])
    ingredients, pixels = find_ingredients(imf_type=imf), data["wavelength"].size
    if degrade and dispersion is not None:
        rest = data["wavelength"] / (1.0 + zred)
        library = np.interp(rest, ingredients.wave, np.abs(np.ravel(ingredients.resolution)))
        data, dispersion = degraded(data, dispersion, library)
        notes.append(
            f"Its {pixels} pixels were smoothed to the library's resolution; "
            f"{data['mask'].sum()} with nearly independent noise are fitted."
        )
    if not 0.0 <= floor < np.inf:
        raise SetupError(f"--spectrum-floor {floor} is not a fraction; give 0 or more (0.02, say).")
    data["unc"] = np.hypot(data["unc"], floor * data["spectrum"])
    if not 0 <= polyorder < data["mask"].sum():
        raise SetupError(
            f"--polyorder {polyorder} does not suit a spectrum of {data['mask'].sum()} pixels; "
            "give 0 (no calibration) or more, and fewer than there are pixels."
        )
    built, said = spectral_model(
        params, data["wavelength"], dispersion, ingredients, polyorder, zred
    )
    obs = obs | data
    notes = [*obs["notes"], *notes, *more, *said, *_brightness(obs, polyorder)]
    return obs | {"notes": notes}, built


def _middle(prior):
    """Redshift at which the line-spread function of a spectrum is taken where it is free."""
    low, high = (float(np.squeeze(x)) for x in prior.bounds())
    if not (1.0 + high) / (1.0 + low) < 1.0 + _NARROW:
        raise SetupError(
            f"A spectrum is fitted with a redshift prior narrower than {100 * _NARROW:g} % of "
            f"1 + z, and this one reaches from {low:g} to {high:g}; give --zred a number, or "
            "--zred-prior uniform:LO,HI around the lines of the spectrum."
        )
    return 0.5 * (low + high)


def _brightness(obs, polyorder):
    """A note where spectrum and photometry are of different brightness."""
    ratios = spectrum_over_photometry(obs)
    middle = float(np.median(list(ratios.values()))) if ratios else 1.0
    if 1.0 / _ALIKE < middle < _ALIKE:
        return []
    cure = "the polynomial takes that up" if polyorder else "give --polyorder if that may be"
    return [
        f"The spectrum is {middle:.3g} times as bright as the photometry in {', '.join(ratios)}; "
        f"{cure}. Check apertures, units and whether both are of this galaxy."
    ]


def fit_table(
    table: Any = None,
    zred: float | str | None = None,
    *,
    model: str = PRESET,
    emulator: str | Path | None = None,
    unit: str | None = None,
    error_floor: float = 0.05,
    zred_prior: str | Path | None = None,
    spectrum: str | Path | None = None,
    resolution: str | Path | None = None,
    polyorder: int = 10,
    spectrum_unit: str | None = None,
    wave_unit: str | None = None,
    air: bool | None = None,
    degrade: bool = False,
    spectrum_floor: float = 0.0,
    magnification: float | str | Path | None = None,
    lines: str | Path | None = None,
    seed: int | None = None,
    progress: bool = False,
    **settings: Any,
) -> FitResult:
    """Fit one galaxy: a table of photometry in, a posterior out.

    Parameters
    ----------
    table : path-like, Table, DataFrame or dict, optional
        ECSV, FITS or CSV with columns ``band`` (sedpy's names), ``flux`` and ``error``, one row
        per band; see `prospect_emu.observe.tables.read_photometry`. By default a bundled mock
        galaxy.
    zred : float or "free", optional
        Redshift; by default the table's metadata, unless there is a `zred_prior`.
    model : str
        ``"mathews23"``, the 18-parameter model of Mathews et al. (2023), or names of Prospector's
        templates joined by ``+``, such as ``"continuity_sfh+dust_emission+nebular"``.
    emulator : str or path-like, optional
        Of the 18-parameter model: a bundled emulator's name, or a file.
    unit : str, optional
        Unit of flux and error where the table names none: ``mgy``, ``uJy``, ``mag`` (AB), ...
    error_floor : float
        Fraction of the flux added to each error in quadrature.
    zred_prior : str or path-like, optional
        Of a free redshift: ``uniform:LO,HI``, ``normal:MEAN,SIGMA`` or a table of p(z), with
        the columns z and p; by default ``uniform:0.01,12``, or the model's own, "model". The
        18-parameter model is then computed exactly, unless an `emulator` is named.
    spectrum, resolution, polyorder, spectrum_unit, wave_unit, air, degrade, spectrum_floor
        Of a spectrum to fit as well, see `prepare`; the model is then computed exactly.
    magnification : float or path-like, optional
        Of a lensed galaxy: a number, or a table with the columns z and magnification. Masses,
        rates and luminosities are then those of the source.
    lines : path-like, optional
        Fluxes of emission lines to fit as well, see `prepare`.
    seed : int, optional
        The same seed gives the same result.
    progress : bool
        A line on stderr while the fit runs.
    **settings
        Of `fit_model`, such as ``nested_nlive_init`` or ``max_seconds``.

    Returns
    -------
    FitResult

    Raises
    ------
    ProspectEmuError
        Of the kinds that `prepare` and `fit_model` name.
    """
    given = locals()
    options = {name: given[name] for name in OPTIONS}
    obs, built, sps = prepare(table, **options)
    output = fit_model(obs, built, sps, seed=seed, progress=progress, **settings)
    described = describe_options(options) | settings
    if isinstance(settings.get("proposal"), Proposal):
        described["proposal"] = settings["proposal"].manifest["name"]
    return FitResult.from_run(output, built, obs, sps, seed=seed, settings=described)


def describe_options(options):
    """What a result keeps of the `OPTIONS` {name: value} that it was made with."""
    kept = {k: options[k] for k in ("error_floor", "emulator", "model")}
    some = ("zred_prior", "magnification", "spectrum", "lines")
    if options["spectrum"] is not None:
        kept |= {k: options[k] for k in SPECTRAL}
    return kept | {k: str(options[k]) for k in some if options[k] is not None}


def _check_truth(truth, table):
    known = (*PARAMETERS, *DERIVED)
    unknown = sorted(set(truth or {}) - set(known))
    if unknown:
        raise DataError(
            f"{table}: 'truth' names unknown parameters ({', '.join(unknown)}); known are "
            f"{', '.join(known)}."
        )
