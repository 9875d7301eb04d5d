"""From the output of a sampler to what a `FitResult` holds."""

import warnings

import numpy as np

from ..cosmology import age_of_universe
from ..errors import DataError
from ..networks import sfh
from ..networks.vector import PARAMETERS, RATIO_NAMES
from ..observe import observation
from ..prospector.batched_priors import compile_priors
from ..prospector.beta_corrected import beta_form
from ..prospector.stand_in import ExactBasis
from ..prospector.version import adapter
from .description import package_versions, plain
from .drawn import EmulatedSED, draws, fitted_spectrum, model_sed
from .fluxes import compared
from .line_luminosities import fitted_lines
from .network_fluxes import by_vector
from .predictions import predictions
from .quality import problems
from .quantiles import weighted_quantiles
from .restframe import RestFrame

# Of the stars that emulators were trained with (PARSEC), log10(years).
_OLDEST = 10.1
# A model's free elements by the emulator's names.
_EMULATOR_NAMES = {"massmet_1": "logmass", "massmet_2": "logzsol"}
for _joint, _n in (("zredmassmet", 3), ("nzsfh", 9)):
    _places = ("zred", "logmass", "logzsol", *RATIO_NAMES)[:_n]
    _EMULATOR_NAMES |= {f"{_joint}_{i + 1}": name for i, name in enumerate(_places)}


def collect(output, model, obs, sps, status="unknown", seed=None, settings=None, restframe=()):
    """Fields of a `FitResult` by name; see `FitResult.from_run`."""
    results, seconds = adapter.nested_run(output)
    obs = adapter.observed(obs)
    if "logwt" not in getattr(results, "keys", dict)():
        raise DataError(
            "The output of the fit holds no nested samples; run fit_model with dynesty."
        )
    samples = np.asarray(results["samples"], dtype=float)
    log_weight = np.asarray(results["logwt"], dtype=float)
    # As Prospector writes them, so that a file gives back these very numbers.
    weights = np.exp(log_weight - results["logz"][-1])
    weights = weights / weights.sum()
    log_like = np.asarray(results["logl"], dtype=float)
    priors = compile_priors(model)
    log_post = log_like + _log_prior(model, samples, priors)
    best = samples[np.argmax(log_post)]

    vectors = quantities = history = predicted = None
    if hasattr(sps, "emulator"):
        filters = observation.filter_list(obs["filters"])
        emulator = sps.emulator.select(f.name for f in filters)
        vectors = emulator_vectors(model, sps, samples, best)
        mfrac = emulator.mfrac(vectors, check=False)
        zred = vectors[:, PARAMETERS.index("zred")]
        scale, lumdist = np.ones(len(zred)), None
        if "lumdist" in model.params:
            lumdist = float(np.squeeze(model.params["lumdist"]))
            scale = sfh.dimming(zred, lumdist)
        fluxes, quick = (lambda rows: _emulated(emulator, vectors[rows]) * scale[rows, None]), True
    else:
        with warnings.catch_warnings():
            # The fit has given them.
            warnings.simplefilter("ignore", UserWarning)
            predicted = predictions(model, obs, sps, priors=priors)
        mfrac, quantities, zred = _quantities(predicted, model, samples)
        history = star_formation_history(predicted, samples, weights)
        fluxes, quick = (lambda rows: predicted.maggies(samples[rows])), predicted.quick
    name, checksum, libraries = describe_source(sps)
    diagnostics = plain(_get(results, "diagnostics", {}))
    info = {
        "emulator": name,
        "sha256": checksum,
        "inflated": obs.get("emulator") is not None,
        "covariance": obs.get("maggies_covariance") is not None,
        "libraries": libraries,
        "versions": package_versions(),
        "seed": diagnostics.get("seed", seed),
        "settings": plain(settings or {}),
        "diagnostics": diagnostics,
        "status": str(_get(results, "status", status)),
        "seconds": float(seconds),
        # Our sampler also counts the calls that ended in no sample.
        "ncall": int(diagnostics.get("n_call", np.sum(results["ncall"]))),
        "niter": int(results["niter"]),
        "zred": float(zred[0]) if np.ptp(zred) == 0 else None,
        "notes": [*obs.get("notes", []), *_oldest_stars(zred, predicted)],
    }
    if form := beta_form(model):
        info["prior"] = form
    if "magnification" in model.params:
        info["magnification"] = plain(np.squeeze(model.params["magnification"]))
        if model.params["magnification"].size > 1:
            z = plain(model.params["magnification_zred"])
            info["magnification"] = [z, info["magnification"]]
    sigma = None
    if vectors is not None and by_vector(obs, emulator):
        sigma = emulator.sigma_at(vectors[[np.argmax(log_post)]])[0]
    photometry = compared(obs, model, sps, fluxes, quick, weights, best, sigma)
    spectrum, sed, kept = None, None, draws(weights)
    if obs.get("spectrum") is not None and hasattr(adapter, "PolySpecModel"):
        spectrum = fitted_spectrum(model, obs, sps, samples[kept], best)
    reach = [photometry.wavelength, *([] if spectrum is None else [spectrum["wavelength"]])]
    if hasattr(predicted, "sed") and sum(map(len, reach)):
        sed = model_sed(predicted, samples[kept], np.concatenate(reach))
    elif vectors is not None and hasattr(emulator, "ingredients"):
        whole = EmulatedSED(emulator, lumdist)
        sed = model_sed(whole, vectors[kept], photometry.wavelength)
    if obs.get("lines") is not None:
        info["lines"] = fitted_lines(model, obs["lines"], sps, samples[kept])
    info["problems"] = problems(model, samples, weights, photometry, priors, spectrum)
    return dict(
        parameters=_free_names(model),
        samples=samples,
        weights=weights,
        log_likelihood=log_like,
        log_posterior=log_post,
        vectors=vectors,
        mfrac=mfrac,
        quantities=quantities,
        history=history,
        restframe=RestFrame(model, sps, restframe)(samples) if restframe else None,
        logz=float(np.asarray(results["logz"])[-1]),
        logz_err=float(np.asarray(results["logzerr"])[-1]),
        photometry=photometry,
        spectrum=spectrum,
        sed=sed,
        truth=dict(obs.get("truth") or {}),
        info=info,
        _run=(results, float(seconds), model, obs, sps),
    )


def emulator_vectors(model, sps, samples, best):
    """Samples of a Prospector model as the emulator's parameter vectors.

    Parameters
    ----------
    model : prospect.models.ProspectorParams
    sps : EmulatorSPS
    samples : ndarray, shape (nsample, nfree)
    best : ndarray, shape (nfree,)
        A sample at which the short way is checked against the long one.

    Returns
    -------
    ndarray, shape (nsample, 18)
    """
    names = sps.emulator.parameters
    labels = _free_names(model)
    columns = []
    for name in names:
        if name in labels:
            columns.append(samples[:, labels.index(name)])
        elif name in model.params and "depends_on" not in model.config_dict[name]:
            columns.append(np.full(len(samples), float(np.squeeze(model.params[name]))))

    def slowly(theta):
        model.set_parameters(theta)
        return sps.theta_from_params(model.params)

    before = model.theta.copy()
    try:
        if len(columns) == len(names):
            vectors = np.stack(columns, axis=1)
            at = np.flatnonzero((samples == best).all(axis=1))[0]
            # A model of the user's own may give a name another meaning.
            if np.allclose(vectors[at], slowly(best), rtol=1e-6, atol=1e-6):
                return vectors
        return np.array([slowly(theta) for theta in samples])
    finally:
        model.set_parameters(before)


def _oldest_stars(zred, predicted):
    """A note where the universe is older than FSPS's oldest stars."""
    stars = getattr(predicted, "ingredients", None)
    oldest = 10.0 ** (_OLDEST if stars is None else stars.log_age[-1])
    if age_of_universe(np.min(zred)) <= oldest:
        return []
    return [
        f"At z = {np.min(zred):.3g} the universe is older than FSPS's oldest stars "
        f"({oldest / 1e9:.1f} Gyr): older ones give no light, as in FSPS, while their mass counts."
    ]


def _log_prior(model, samples, priors):
    """Prospector's density, or where its own fails for many samples at once, the priors'.

    Theirs too for Prospector-beta, whose own takes a millisecond a sample.
    """
    if not beta_form(model):
        try:
            density = np.asarray(model.prior_product(samples), dtype=float)
        except ValueError:
            density = np.zeros(0)
        if density.shape == (len(samples),):
            return density
    return sum(p.log_density(samples[:, p.columns]) for p in priors)


def _quantities(predicted, model, samples):
    """Surviving mass fraction, quantities and redshift of every sample."""
    if not hasattr(predicted, "zred"):
        # The model itself takes milliseconds for each.
        zred = model.params.get("zred", 0.0)
        same = np.full(len(samples), float(np.squeeze(zred)))
        if "zred" in model.theta_index:
            same = samples[:, model.theta_index["zred"].start]
        return np.full(len(samples), np.nan), {}, same
    mfrac, quantities = predicted.quantities(samples)
    return mfrac, quantities, predicted.zred(samples)


def star_formation_history(predicted, samples, weights, size=150):
    """Percentiles of the star-formation rate against lookback time; see `FitResult.history`."""
    if not hasattr(predicted, "star_formation"):
        return None
    keep = weights > 1e-6 * weights.max()
    oldest = age_of_universe(np.min(predicted.zred(samples[keep])))
    lookback = np.concatenate([[0.0], np.geomspace(3e6, oldest, size)])
    rates = predicted.star_formation(samples[keep], lookback)
    return {
        "lookback": lookback, "sfr": weighted_quantiles(rates, weights[keep], (0.16, 0.5, 0.84))
    }  # fmt: skip


def describe_source(sps):
    """What gives the fluxes: name, checksum and the libraries it stands on."""
    if hasattr(sps, "emulator"):
        emulator = sps.emulator
        return emulator.name, emulator.manifest.get("sha256"), emulator.libraries
    if isinstance(sps, ExactBasis):
        name = type(sps).__name__ if sps.has_own_spectra else "exact"
        return name, sps.checksum, sps.label
    libraries = [getattr(x, "decode", lambda x=x: x)() for x in sps.ssp.libraries]
    return type(sps).__name__, None, ", ".join(libraries)


def _free_names(model):
    return tuple(_EMULATOR_NAMES.get(label, label) for label in model.theta_labels())


def _emulated(emulator, vectors, chunk=4096):
    parts = [
        emulator.maggies(vectors[i : i + chunk], check=False) for i in range(0, len(vectors), chunk)
    ]
    return np.concatenate(parts)


def _get(results, key, default):
    """An entry that not every sampler's results have."""
    try:
        return results[key]
    except (KeyError, AttributeError):
        return getattr(results, key, default)
