"""The result of a fit: posterior, summary, and one HDF5 file that Prospector opens too."""

import warnings
from dataclasses import dataclass, field, replace

import numpy as np
from astropy.table import Table

from ..cosmology import age_of_universe
from ..errors import DataError
from ..networks.vector import PARAMETERS, derived_quantities
from ..observe import observation
from ..parameters import PARAMETERS as FSPS
from ..prospector.batched_priors import compile_priors
from ..prospector.stand_in import ExactBasis
from ..sps.history import QUANTITIES
from . import result_file
from .certificate import Certificate, certify
from .description import package_versions, plain
from .fluxes import Photometry, compared
from .predictions import predictions
from .quality import effective_size, problems
from .quantiles import weighted_quantiles

PERCENTILES = (2.5, 16.0, 50.0, 84.0, 97.5)

UNITS = {
    **{name: p.unit for name, p in FSPS.items() if p.unit},
    "mass": "Msun",
    "total_mass": "Msun",
    "logmass": "log10(Msun)",
    "logzsol": "log10(Z/Zsun)",
    **{name: "dex" for name in PARAMETERS if name.startswith("logsfr_ratios")},
    "log_fagn": "log10",
    "log_agn_tau": "log10",
    "gas_logz": "log10(Z/Zsun)",
    "duste_qpah": "percent",
    "log_duste_gamma": "log10",
    **QUANTITIES,
}

# What the summary says about the run.
_DIAGNOSTICS = (
    "efficiency", "seconds_likelihood", "seconds_prior", "seconds_overhead",
)  # fmt: skip
# A model's free elements by the emulator's names.
_EMULATOR_NAMES = {"massmet_1": "logmass", "massmet_2": "logzsol"}


@dataclass(frozen=True, eq=False)
class FitResult:
    """Posterior of one galaxy. `FitResult.from_run` or `FitResult.read` make it.

    Attributes
    ----------
    parameters : tuple of str
        The free parameters by the emulator's names (``massmet`` is ``logmass``
        and ``logzsol``).
    samples : ndarray, shape (nsample, nfree)
        Nested samples.
    weights : ndarray, shape (nsample,)
        Posterior weights; they sum to 1.
    log_likelihood, log_posterior : ndarray, shape (nsample,)
    vectors : ndarray, shape (nsample, 18), or None
        The samples as the emulator's parameter vectors; None of other models.
    mfrac : ndarray, shape (nsample,)
        Surviving mass fraction.
    logz, logz_err : float
        Natural logarithm of the evidence, and its standard error.
    photometry : Photometry
    truth : dict
        True values by name, where known.
    info : dict
        What was run: emulator, sha256, libraries, versions, seed, settings,
        diagnostics of the sampler, status, seconds, ncall, niter, zred, notes.
        JSON throughout.
    certificate : Certificate, optional
        See `certified`.
    quantities : dict of ndarray, each of shape (nsample,), or None
        `prospect_emu.sps.history.QUANTITIES` of models that have no vectors.
    history : dict or None
        ``lookback`` (m,) years, and ``sfr`` (3, m - 1) Msun/yr between these times: 16th,
        50th and 84th percentile.
    """

    parameters: tuple
    samples: np.ndarray
    weights: np.ndarray
    log_likelihood: np.ndarray
    log_posterior: np.ndarray
    vectors: np.ndarray | None
    mfrac: np.ndarray
    logz: float
    logz_err: float
    photometry: Photometry
    truth: dict
    info: dict
    certificate: Certificate | None = None
    quantities: dict | None = None
    history: dict | None = None
    _run: tuple | None = field(default=None, repr=False)

    @classmethod
    def from_run(cls, output, model, obs, sps, status="unknown", seed=None, settings=None):
        """Collect a fit.

        Parameters
        ----------
        output : dict
            What `fit_model` (ours or Prospector's) returned.
        model : prospect.models.SpecModel or SedModel
        obs : dict
            As it was fitted, that is, with inflated errors if they were.
        sps : EmulatorSPS
        status : str
            "converged", or why not; a ``status`` of the
            sampler's results goes before.
        seed : int, optional
        settings : dict, optional
            Settings of the run, JSON-serialisable.

        Returns
        -------
        FitResult

        Raises
        ------
        DataError
            If the output holds no nested samples.
        """
        results, seconds = output["sampling"] if isinstance(output, dict) else (output, 0.0)
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
        log_post = log_like + _log_prior(model, samples)
        best = samples[np.argmax(log_post)]

        vectors = quantities = history = None
        if hasattr(sps, "emulator"):
            filters = observation.filter_list(obs["filters"])
            emulator = sps.emulator.select(f.name for f in filters)
            vectors = emulator_vectors(model, sps, samples, best)
            mfrac = emulator.mfrac(vectors, check=False)
            zred = vectors[:, PARAMETERS.index("zred")]
            fluxes, quick = (lambda rows: _emulated(emulator, vectors[rows])), True
        else:
            with warnings.catch_warnings():
                # The fit has given them.
                warnings.simplefilter("ignore", UserWarning)
                predicted = predictions(model, obs, sps)
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
            "notes": list(obs.get("notes", [])),
        }
        photometry = compared(obs, model, sps, fluxes, quick, weights, best)
        info["problems"] = problems(model, samples, weights, photometry)
        return cls(
            parameters=_free_names(model),
            samples=samples,
            weights=weights,
            log_likelihood=log_like,
            log_posterior=log_post,
            vectors=vectors,
            mfrac=mfrac,
            quantities=quantities,
            history=history,
            logz=float(np.asarray(results["logz"])[-1]),
            logz_err=float(np.asarray(results["logzerr"])[-1]),
            photometry=photometry,
            truth=dict(obs.get("truth") or {}),
            info=info,
            _run=(results, float(seconds), model, obs, sps),
        )

    # ---- numbers ----------------------------------------------------------

    @property
    def n_eff(self):
        """Independent samples that would give means as precise as those of this posterior.

        Of the parameter that is known worst, from the genealogy of the live points
        (`prospect_emu.sampling.genealogy`); of other samplers Kish's number, ``1 /
        sum(weights**2)``, copies counted once.
        """
        kish = effective_size(self.samples, self.weights)
        return min(kish, self.info["diagnostics"].get("n_effective", kish))

    @property
    def best(self):
        """The sample of highest posterior density, shape (nfree,)."""
        return self.samples[np.argmax(self.log_posterior)]

    @property
    def derived(self):
        """`quantities`, or `prospect_emu.networks.vector.derived_quantities` of `vectors`."""
        if self.vectors is None:
            return self.quantities
        return derived_quantities(self.vectors, self.mfrac)

    def columns(self):
        """Free parameters and derived quantities by name, each of shape (nsample,)."""
        return {**dict(zip(self.parameters, self.samples.T, strict=True)), **self.derived}

    def draw(self, n, seed=0):
        """Indices of `n` samples drawn with their weights.

        Systematic resampling, shuffled: the counts differ from ``n * weights``
        by less than one.
        """
        rng = np.random.default_rng(seed)
        points = (rng.random() + np.arange(n)) / n
        cumulative = np.cumsum(self.weights)
        index = np.searchsorted(cumulative / cumulative[-1], points, side="right")
        return rng.permutation(np.minimum(index, self.weights.size - 1))

    def certified(self, exact, **kwargs):
        """This result with a certificate; see `prospect_emu.fit.certificate.certify`.

        Raises
        ------
        DataError
            If no emulator was used: there is nothing to certify.
        """
        if self.vectors is None:
            raise DataError(
                f"This fit used no emulator ({self.info['emulator']}); its fluxes are those that a "
                "certificate would compare with."
            )
        return replace(self, certificate=certify(self, exact, **kwargs))

    def all_truth(self):
        """True values by name: those given, and the derived ones that follow from them."""
        out = dict(self.truth)
        vector = self.true_vector()
        if vector is not None:
            derived = derived_quantities(vector)
            out = {**{k: float(v) for k, v in derived.items()}, **out}
        return out

    def true_vector(self):
        """The true parameter vector, shape (18,); None unless all of it is known.

        A redshift held fixed in the fit stands in for one not in the truth.
        """
        known = {"zred": self.info["zred"], **self.truth}
        values = [known.get(name) for name in PARAMETERS]
        return None if None in values else np.array(values, dtype=float)

    def summary(self):
        """Percentiles of the free parameters and derived quantities.

        Returns
        -------
        astropy.table.Table
            Columns ``parameter``, ``p2.5`` ... ``p97.5``, ``unit`` and ``truth``
            (NaN where unknown); with a certificate also ``corrected_p16``, ``_p50``,
            ``_p84`` and ``shift`` (sigma). Metadata: evidence, chi2, status and the
            like, and the certificate's verdict.
        """
        columns, truth = self.columns(), self.all_truth()
        values = weighted_quantiles(
            np.stack(list(columns.values()), axis=1), self.weights, np.array(PERCENTILES) / 100.0
        )
        table = Table({"parameter": list(columns)})
        for p, row in zip(PERCENTILES, values, strict=True):
            table[f"p{p:g}"] = row
        certificate = self.certificate
        if certificate is not None:
            drawn = np.stack([c[certificate.index] for c in columns.values()], axis=1)
            corrected = weighted_quantiles(drawn, certificate.weights, (0.16, 0.5, 0.84))
            for p, row in zip((16, 50, 84), corrected, strict=True):
                table[f"corrected_p{p}"] = row
            table["shift"] = [certificate.shift[name] for name in columns]
        table["unit"] = [UNITS.get(name, "1") for name in columns]
        table["truth"] = [truth.get(name, np.nan) for name in columns]
        table.meta = {
            "logz": self.logz,
            "logz_err": self.logz_err,
            "chi2": self.photometry.chi2,
            "bands_fitted": int(self.photometry.mask.sum()),
            "n_eff": self.n_eff,
            "problems": self.info.get("problems", []),
            **{k: self.info[k] for k in ("status", "emulator", "zred", "ncall", "seconds", "seed")},
            **{k: v for k, v in self.info["diagnostics"].items() if k in _DIAGNOSTICS},
        }
        if certificate is not None:
            table.meta["certificate"] = {
                "verdict": certificate.verdict,
                "reason": certificate.reason,
                "engine": certificate.engine,
                "pareto_k": certificate.pareto_k,
                "draws": certificate.index.size,
                "effective_fraction": certificate.effective_fraction,
                "max_shift": certificate.max_shift,
                "logz": self.logz + certificate.dlogz,
            }
        return table

    def truth_inside(self):
        """How many true parameters lie within their 95 % intervals.

        Returns
        -------
        (int, int)
            Number inside and number known, over the free parameters.
        """
        table = self.summary()
        table = table[: len(self.parameters)]
        known = np.isfinite(table["truth"])
        inside = (table["truth"] >= table["p2.5"]) & (table["truth"] <= table["p97.5"])
        return int((inside & known).sum()), int(known.sum())

    # ---- files ------------------------------------------------------------

    def write(self, path, overwrite=False):
        """Write the HDF5 file, atomically.

        Prospector's `prospect.io.read_results.results_from` opens it (as it
        does any ``.h5``); what only we need is in the group ``prospect_emu``.
        Attributes are JSON; nothing in the file is pickled.

        Raises
        ------
        OutputError
            If the file exists and `overwrite` is not set, or cannot be
            written, or this result was itself read from a file.
        """
        result_file.write(self, path, overwrite)

    @classmethod
    def read(cls, path):
        """Read what `write` wrote. Nothing is unpickled.

        Raises
        ------
        DataError
            If the file is missing, truncated, damaged or of another program.
        """
        return cls(**result_file.read(path))


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


def _log_prior(model, samples):
    """Prospector's density, or where its own fails for many samples at once, the priors'."""
    try:
        density = np.asarray(model.prior_product(samples), dtype=float)
    except ValueError:
        density = np.zeros(0)
    if density.shape == (len(samples),):
        return density
    return sum(p.log_density(samples[:, p.columns]) for p in compile_priors(model))


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
        return "exact", sps.checksum, sps.label
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
