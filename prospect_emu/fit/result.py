"""The result of a fit: posterior, summary, and one HDF5 file that Prospector opens too."""

import io
import json
import platform
import warnings
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import h5py
import numpy as np
from astropy.table import Table

from ..errors import DataError, OutputError
from ..files import check_writable, digest, write_atomic
from ..networks.vector import PARAMETERS, derived_quantities
from ..observe import observation
from ..prospector import v1
from .certificate import Certificate, certify
from .likelihood import upper_limits
from .quantiles import weighted_quantiles

GROUP = "prospect_emu"
SCHEMA = 1
PERCENTILES = (2.5, 16.0, 50.0, 84.0, 97.5)

UNITS = {
    "logmass": "log10(Msun)",
    "logzsol": "log10(Z/Zsun)",
    **{name: "dex" for name in PARAMETERS if name.startswith("logsfr_ratios")},
    "log_fagn": "log10",
    "log_agn_tau": "log10",
    "gas_logz": "log10(Z/Zsun)",
    "duste_qpah": "percent",
    "log_duste_gamma": "log10",
    "log_sfr_100": "log10(Msun/yr)",
    "log_ssfr_100": "log10(1/yr)",
    "mass_weighted_age": "Gyr",
    "log_stellar_mass": "log10(Msun)",
}

# What the summary says about the run.
_DIAGNOSTICS = (
    "efficiency", "insertion_p_value", "seconds_likelihood", "seconds_prior", "seconds_overhead",
)  # fmt: skip
# A model's free elements by the emulator's names.
_EMULATOR_NAMES = {"massmet_1": "logmass", "massmet_2": "logzsol"}
_PACKAGES = (
    "prospect_emu", "astro-prospector", "astro-sedpy", "dynesty", "numpy", "scipy", "h5py",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class Photometry:
    """Observed and predicted fluxes of a fit, each of shape (nband,), in maggies.

    Attributes
    ----------
    bands : tuple of str
    wavelength : ndarray
        Effective wavelengths in micron.
    maggies, unc : ndarray
        Observed fluxes and the errors the fit used.
    unc_observed : ndarray
        The errors before the emulator's was added; `unc` where it was not.
    mask : ndarray of bool
        True where the band was fitted.
    upper_limits : ndarray of bool
        True where the flux is an upper limit; none of those count in `chi2`.
    best : ndarray
        Prediction of the best sample.
    predicted : ndarray, shape (3, nband)
        16th, 50th and 84th percentile of the posterior prediction.
    """

    bands: tuple
    wavelength: np.ndarray
    maggies: np.ndarray
    unc: np.ndarray
    unc_observed: np.ndarray
    mask: np.ndarray
    upper_limits: np.ndarray
    best: np.ndarray
    predicted: np.ndarray

    @property
    def chi2(self):
        """Chi-squared of the best sample over the fitted bands."""
        used = self.mask & ~self.upper_limits
        return float(np.sum(((self.maggies - self.best) / self.unc)[used] ** 2))


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
    vectors : ndarray, shape (nsample, 18)
        The samples as the emulator's parameter vectors.
    mfrac : ndarray, shape (nsample,)
        Surviving mass fraction.
    logz, logz_err : float
        Natural logarithm of the evidence.
    photometry : Photometry
    truth : dict
        True values by name, where known.
    info : dict
        What was run: emulator, sha256, libraries, versions, seed, settings,
        diagnostics of the sampler, status, seconds, ncall, niter, zred, notes.
        JSON throughout.
    certificate : Certificate, optional
        See `certified`.
    """

    parameters: tuple
    samples: np.ndarray
    weights: np.ndarray
    log_likelihood: np.ndarray
    log_posterior: np.ndarray
    vectors: np.ndarray
    mfrac: np.ndarray
    logz: float
    logz_err: float
    photometry: Photometry
    truth: dict
    info: dict
    certificate: Certificate | None = None
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
            "converged", or which budget ended the run; a ``status`` of the
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
        results, seconds = output["sampling"]
        if results is None or "logwt" not in results.keys():
            raise DataError(
                "The output of the fit holds no nested samples; run fit_model with dynesty."
            )
        samples = np.asarray(results["samples"], dtype=float)
        log_weight = np.asarray(results["logwt"], dtype=float)
        # As Prospector writes them, so that a file gives back these very numbers.
        weights = np.exp(log_weight - results["logz"][-1])
        weights = weights / weights.sum()
        log_like = np.asarray(results["logl"], dtype=float)
        log_post = log_like + model.prior_product(samples)
        best = samples[np.argmax(log_post)]

        emulator = sps.emulator.select(f.name for f in observation.filter_list(obs["filters"]))
        vectors = emulator_vectors(model, sps, samples, best)
        flux, unc, mask = observation.photometry(obs)
        # Samples of no weight cost time and change no quantile.
        keep = weights > 1e-9 * weights.max()
        predicted = _predict(emulator, vectors[keep])
        photometry = Photometry(
            bands=emulator.filters,
            wavelength=np.array([f.wave_effective for f in observation.filter_list(obs["filters"])])
            / 1e4,
            maggies=flux,
            unc=unc,
            unc_observed=np.asarray(obs.get("maggies_unc_observed", unc), dtype=float),
            mask=mask,
            upper_limits=upper_limits(obs, mask),
            best=np.asarray(model.predict(best, obs=_plain_obs(obs), sps=sps)[1], dtype=float),
            predicted=weighted_quantiles(predicted, weights[keep], (0.16, 0.5, 0.84)),
        )
        zred = vectors[:, emulator.index("zred")]
        diagnostics = _plain(_get(results, "diagnostics", {}))
        info = {
            "emulator": emulator.name,
            "sha256": emulator.manifest.get("sha256"),
            "inflated": obs.get("emulator") is not None,
            "covariance": obs.get("maggies_covariance") is not None,
            "libraries": emulator.libraries,
            "versions": package_versions(),
            "seed": diagnostics.get("seed", seed),
            "settings": _plain(settings or {}),
            "diagnostics": diagnostics,
            "status": str(_get(results, "status", status)),
            "seconds": float(seconds),
            # Our sampler also counts the calls that ended in no sample.
            "ncall": int(diagnostics.get("n_call", np.sum(results["ncall"]))),
            "niter": int(results["niter"]),
            "zred": float(zred[0]) if np.ptp(zred) == 0 else None,
            "notes": list(obs.get("notes", [])),
        }
        return cls(
            parameters=_free_names(model),
            samples=samples,
            weights=weights,
            log_likelihood=log_like,
            log_posterior=log_post,
            vectors=vectors,
            mfrac=emulator.mfrac(vectors, check=False),
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
        """Kish's effective number of samples, ``1 / sum(weights**2)``.

        It counts the weights only: correlations between samples make the
        posterior less precise than this number says.
        """
        return float(1.0 / np.sum(self.weights**2))

    @property
    def best(self):
        """The sample of highest posterior density, shape (nfree,)."""
        return self.samples[np.argmax(self.log_posterior)]

    @property
    def derived(self):
        """Of every sample; see `prospect_emu.networks.vector.derived_quantities`."""
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
        """This result with a certificate; see `prospect_emu.fit.certificate.certify`."""
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
        if self._run is None:
            raise OutputError(
                "A result that was read from a file holds no sampler state to write; copy the "
                "file instead."
            )
        path = Path(path)
        check_writable(path, overwrite)
        results, seconds, model, obs, sps = self._run
        run_params = {
            **self.info["settings"],
            "seed": self.info["seed"],
            "sps_libraries": self.info["libraries"],
        }
        # Made in memory: after a write that failed on a full disk, the HDF5 library can
        # neither write nor drop what it still holds, and brings down the process later.
        memory = io.BytesIO()
        with warnings.catch_warnings(), h5py.File(memory, "w") as f:
            # Prospector misses the parameter file of its own scripts.
            warnings.simplefilter("ignore", RuntimeWarning)
            self._write_group(f.create_group(GROUP), model)
            v1.write_hdf5(
                f, run_params, model, _plain_obs(obs), sampler=results, tsample=seconds,
                sps=sps, write_model_params=False,
            )  # fmt: skip
        try:
            write_atomic(path, memory.getbuffer())
        except OSError as err:
            raise OutputError(
                f"Writing {path} failed ({err}); free space or choose another folder."
            ) from err

    def _write_group(self, group, model):
        constant, varying = {}, []
        for i, name in enumerate(PARAMETERS):
            if name in self.parameters:
                continue
            if np.ptp(self.vectors[:, i]) == 0:
                constant[name] = float(self.vectors[0, i])
            else:
                varying.append(name)
                group.create_dataset(f"vectors/{name}", data=self.vectors[:, i])
        if self.certificate is not None:
            for name, array in self.certificate.arrays.items():
                group.create_dataset(f"certificate/{name}", data=array)
        group.create_dataset("mfrac", data=self.mfrac)
        group.create_dataset("photometry/wavelength_um", data=self.photometry.wavelength)
        group.create_dataset("photometry/predicted", data=self.photometry.predicted)
        attributes = {
            "schema": SCHEMA,
            "parameters": list(self.parameters),
            "bands": list(self.photometry.bands),
            "constant": constant,
            "varying": varying,
            "truth": self.truth,
            "info": self.info,
            "model": describe_model(model),
        }
        if self.certificate is not None:
            attributes["certificate"] = self.certificate.numbers
        attributes = json.loads(json.dumps(attributes))  # as it will be read
        for key, value in attributes.items():
            group.attrs[key] = json.dumps(value)
        group.attrs["sha256"] = json.dumps(digest(self._checked_arrays(), attributes))

    def _checked_arrays(self):
        certificate = {} if self.certificate is None else self.certificate.arrays
        return {
            **{f"certificate/{k}": v for k, v in certificate.items()},
            "chain": self.samples,
            "weights": self.weights,
            "vectors": self.vectors,
            "logz": np.array([self.logz, self.logz_err]),
            "best": self.photometry.best,
            "mask": self.photometry.mask,
            "lnlikelihood": self.log_likelihood,
            "lnprobability": self.log_posterior,
            "mfrac": self.mfrac,
            "maggies": self.photometry.maggies,
            "maggies_unc": self.photometry.unc,
            "predicted": self.photometry.predicted,
        }

    @classmethod
    def read(cls, path):
        """Read what `write` wrote. Nothing is unpickled.

        Raises
        ------
        DataError
            If the file is missing, truncated, damaged or of another program.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(f"{path} does not exist; check the path.")
        try:
            with h5py.File(path, "r") as f:
                if GROUP not in f:
                    raise DataError(
                        f"{path} was not written by prospect_emu; open it with "
                        "prospect.io.read_results.results_from."
                    )
                result, stored, attributes = cls._from_file(f, path)
        except (OSError, KeyError, ValueError, TypeError, RuntimeError) as err:
            raise DataError(
                f"{path} is not a complete result file ({str(err).splitlines()[0]}); it is "
                "truncated or damaged: copy it again or repeat the fit."
            ) from err
        if digest(result._checked_arrays(), attributes) != stored:
            raise DataError(f"{path} fails its checksum; copy it again or repeat the fit.")
        return result

    @classmethod
    def _from_file(cls, f, path):
        group, sampling, obs = f[GROUP], f["sampling"], f["obs"]
        stored = {key: json.loads(value) for key, value in group.attrs.items()}
        if stored["schema"] != SCHEMA:
            raise DataError(
                f"{path} has schema {stored['schema']}, this version reads schema {SCHEMA}; "
                "update prospect_emu."
            )
        parameters = tuple(stored["parameters"])
        samples = sampling["chain"][()]
        columns = dict(zip(parameters, samples.T, strict=True))
        columns |= {k: np.full(len(samples), v) for k, v in stored["constant"].items()}
        columns |= {k: group[f"vectors/{k}"][()] for k in stored["varying"]}
        weights = sampling["weights"][()]
        unc = obs["maggies_unc"][()]
        photometry = Photometry(
            bands=tuple(stored["bands"]),
            wavelength=group["photometry/wavelength_um"][()],
            maggies=obs["maggies"][()],
            unc=unc,
            unc_observed=obs["maggies_unc_observed"][()] if "maggies_unc_observed" in obs else unc,
            mask=obs["phot_mask"][()].astype(bool),
            upper_limits=upper_limits(
                {k: obs[k][()].astype(bool) for k in ("upper_limits",) if k in obs},
                obs["phot_mask"][()].astype(bool),
            ),
            best=f["bestfit/photometry"][()],
            predicted=group["photometry/predicted"][()],
        )
        result = cls(
            parameters=parameters,
            samples=samples,
            weights=weights / weights.sum(),
            log_likelihood=sampling["lnlikelihood"][()],
            log_posterior=sampling["lnprobability"][()],
            vectors=np.stack([columns[name] for name in PARAMETERS], axis=1),
            mfrac=group["mfrac"][()],
            logz=float(sampling["logz"][-1]),
            logz_err=float(sampling["logzerr"][-1]),
            photometry=photometry,
            truth=stored["truth"],
            info=stored["info"],
            certificate=_read_certificate(group, stored),
        )
        return result, stored.pop("sha256"), stored


def _read_certificate(group, stored):
    numbers = stored.get("certificate")
    if numbers is None:
        return None
    return Certificate(**numbers, **{k: a[()] for k, a in group["certificate"].items()})


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


def describe_model(model):
    """Free parameters with their priors and fixed ones with their values, for JSON."""
    out = {}
    for name, entry in model.config_dict.items():
        if "depends_on" in entry:
            function = entry["depends_on"]
            path = getattr(function, "__module__", None), getattr(function, "__qualname__", None)
            out[name] = {"depends_on": ".".join(path) if None not in path else repr(function)}
        elif entry["isfree"]:
            prior = entry["prior"]
            settings = {k: _plain(v) for k, v in getattr(prior, "params", {}).items()}
            out[name] = {"prior": type(prior).__name__, **settings}
        else:
            out[name] = {"value": _plain(np.squeeze(model.params[name]))}
    return out


def package_versions():
    """Versions of Python and of the packages a result depends on."""
    out = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            out[name] = version(name)
        except PackageNotFoundError:
            out[name] = "not installed"
    return out


def _free_names(model):
    return tuple(_EMULATOR_NAMES.get(label, label) for label in model.theta_labels())


def _predict(emulator, vectors, chunk=4096):
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


def _plain(value):
    """The value in types that JSON knows; text for any other."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, (np.ndarray, np.generic)):
        return _plain(value.tolist())
    return value if value is None or isinstance(value, (str, bool, int, float)) else repr(value)


def _plain_obs(obs):
    """An obs that Prospector writes without pickling: arrays, filters and JSON."""
    filters = observation.filter_list(obs["filters"])
    flux, unc, mask = observation.photometry(obs)
    out = {"wavelength": None, "spectrum": None, "unc": None}
    out |= {k: v if isinstance(v, np.ndarray) else _plain(v) for k, v in obs.items()}
    return {**out, "filters": filters, "maggies": flux, "maggies_unc": unc, "phot_mask": mask}
