"""The result of a fit: posterior, summary, and one HDF5 file that Prospector opens too."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from astropy.table import Table

from ..errors import DataError
from ..networks.vector import PARAMETERS, derived_quantities
from . import conversions, result_file
from .certificate import Certificate, certify
from .collect import collect
from .drawn import predicted_at_best, sed_components
from .fluxes import Photometry
from .labels import UNITS
from .quality import effective_size
from .quantiles import weighted_quantiles
from .restframe import unit_of

if TYPE_CHECKING:
    from matplotlib.figure import Figure

PERCENTILES = (2.5, 16.0, 50.0, 84.0, 97.5)

# What the summary says about the run.
_DIAGNOSTICS = (
    "efficiency", "seconds_likelihood", "seconds_prior", "seconds_overhead",
)  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
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
        diagnostics of the sampler, status, seconds, ncall, niter, zred, notes;
        ``magnification`` where there is one, a number or two lists, redshifts and values.
        JSON throughout.
    certificate : Certificate, optional
        See `certified`.
    quantities : dict of ndarray, each of shape (nsample,), or None
        `prospect_emu.sps.history.QUANTITIES` of models that have no vectors.
    history : dict or None
        ``lookback`` (m,) years, and ``sfr`` (3, m - 1) Msun/yr between these times: 16th,
        50th and 84th percentile.
    spectrum : dict of ndarray, or None
        Of a fit with a spectrum, see `prospect_emu.fit.drawn.fitted_spectrum`.
    sed : dict of ndarray, or None
        The model's whole SED, see `prospect_emu.fit.drawn.model_sed`; None with networks.
    restframe : dict of ndarray, each of shape (nsample,), or None
        Magnitudes, colours and lines at rest that were asked for (`restframe.columns_of`).
    """

    parameters: tuple[str, ...]
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
    spectrum: dict | None = None
    sed: dict | None = None
    restframe: dict | None = None
    _run: tuple | None = field(default=None, repr=False)

    @classmethod
    def from_run(
        cls,
        output: dict,
        model,
        obs,
        sps,
        status: str = "unknown",
        seed: int | None = None,
        settings: dict | None = None,
        restframe: Sequence[str] = (),
    ) -> Self:
        """Collect a fit.

        Parameters
        ----------
        output : dict
            What `fit_model` (ours or Prospector's) returned.
        model : prospect.models.SpecModel or SedModel
        obs : dict or list of Observation
            As it was fitted, that is, with inflated errors if they were.
        sps : EmulatorSPS
        status : str
            "converged", or why not; a ``status`` of the
            sampler's results goes before.
        seed : int, optional
        settings : dict, optional
            Settings of the run, JSON-serialisable.
        restframe : sequence of str
            Magnitudes, colours and lines at rest to derive, see
            `prospect_emu.fit.restframe.columns_of`.

        Returns
        -------
        FitResult

        Raises
        ------
        DataError
            If the output holds no nested samples.
        """
        return cls(**collect(output, model, obs, sps, status, seed, settings, restframe))

    # ---- numbers ----------------------------------------------------------

    @property
    def n_eff(self) -> float:
        """Independent samples that would give means as precise as those of this posterior.

        Of the parameter that is known worst, from the genealogy of the live points
        (`prospect_emu.sampling.genealogy`); of other samplers Kish's number, ``1 /
        sum(weights**2)``, copies counted once.
        """
        kish = effective_size(self.samples, self.weights)
        return min(kish, self.info["diagnostics"].get("n_effective", kish))

    @property
    def best(self) -> np.ndarray:
        """The sample of highest posterior density, shape (nfree,)."""
        return self.samples[np.argmax(self.log_posterior)]

    @property
    def derived(self) -> dict[str, np.ndarray]:
        """`quantities`, or `derived_quantities` of `vectors`, and `restframe`."""
        quantities = self.quantities or {}
        if self.vectors is not None:
            quantities = derived_quantities(self.vectors, self.mfrac)
        return {**quantities, **(self.restframe or {})}

    def columns(self) -> dict[str, np.ndarray]:
        """Free parameters and derived quantities by name, each of shape (nsample,)."""
        return {**dict(zip(self.parameters, self.samples.T, strict=True)), **self.derived}

    def quantiles(self, function: Callable, shares=(0.16, 0.5, 0.84)) -> np.ndarray:
        """Of a function of `columns` over the posterior; `prospect_emu.fit.conversions`."""
        return conversions.quantiles(self, function, shares)

    def draw(self, n: int, seed: int = 0) -> np.ndarray:
        """Indices of `n` samples drawn with their weights.

        Systematic resampling, shuffled: the counts differ from ``n * weights``
        by less than one.
        """
        rng = np.random.default_rng(seed)
        points = (rng.random() + np.arange(n)) / n
        cumulative = np.cumsum(self.weights)
        index = np.searchsorted(cumulative / cumulative[-1], points, side="right")
        return rng.permutation(np.minimum(index, self.weights.size - 1))

    def certified(self, exact: Callable, **kwargs: Any) -> Self:
        """This result with a certificate; see `prospect_emu.fit.certificate.certify`.

        Raises
        ------
        DataError
            If no emulator was used: there is nothing to certify. Or with a magnification.
        """
        if "magnification" in self.info:
            raise DataError("A fit with a magnification has no certificate; leave it out.")
        if self.vectors is None:
            raise DataError(
                f"This fit used no emulator ({self.info['emulator']}); its fluxes are those that a "
                "certificate would compare with."
            )
        return replace(self, certificate=certify(self, exact, **kwargs))

    def all_truth(self) -> dict[str, float]:
        """True values by name: those given, and the derived ones that follow from them."""
        out = dict(self.truth)
        vector = self.true_vector()
        if vector is not None:
            derived = derived_quantities(vector)
            out = {**{k: float(v) for k, v in derived.items()}, **out}
        return out

    def true_vector(self) -> np.ndarray | None:
        """The true parameter vector, shape (18,); None unless all of it is known.

        A redshift held fixed in the fit stands in for one not in the truth.
        """
        known = {"zred": self.info["zred"], **self.truth}
        values = [known.get(name) for name in PARAMETERS]
        return None if None in values else np.array(values, dtype=float)

    def summary(self) -> Table:
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
            table["shift"] = [certificate.shift.get(name, np.nan) for name in columns]
        units = UNITS | {k: unit_of(k) for k in self.restframe or ()}
        table["unit"] = [units.get(name, "1") for name in columns]
        table["truth"] = [truth.get(name, np.nan) for name in columns]
        for name in table.colnames:
            if table[name].dtype.kind == "f":
                table[name].info.format = ".4g"  # as printed; the values are whole
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

    def truth_inside(self) -> tuple[int, int]:
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

    # ---- other forms ------------------------------------------------------

    def table(self, draws: int | None = None, seed: int = 0) -> Table:
        """Free parameters and derived quantities of the samples, a column each.

        Parameters
        ----------
        draws : int, optional
            This many equally weighted samples. By default all samples, with the columns
            ``weight`` and ``lnlike``.
        seed : int

        Returns
        -------
        astropy.table.Table
        """
        return conversions.samples_table(self, draws, seed)

    def to_anesthetic(self) -> Any:
        """The weighted samples as `anesthetic.MCMCSamples`."""
        return conversions.to_anesthetic(self)

    def to_arviz(self, draws: int = 10000, seed: int = 0) -> Any:
        """Equally weighted samples in ArviZ's layout, one chain; needs ``arviz-base``.

        Returns
        -------
        xarray.DataTree
        """
        return conversions.to_arviz(self, draws, seed)

    def components(self) -> dict[str, np.ndarray]:
        """What stars, nebular emission, dust and AGN add to the best sample's SED.

        Returns
        -------
        dict of ndarray
            ``wavelength`` (nwave,), micron as observed, and maggies (nwave,) by name, which
            sum to the whole.

        Raises
        ------
        DataError
            If the result was read from a file, or its fit used networks.
        """
        if self._run is None:
            raise DataError(
                "Components follow from the model of a fit; call this on the result of that fit, "
                "before it is written."
            )
        return sed_components(*predicted_at_best(self))

    def plot_sed(self, **kwargs: Any) -> "Figure":
        """`prospect_emu.fit.plots.sed_figure` of this result."""
        from . import plots

        return plots.sed_figure(self, **kwargs)

    def plot_spectrum(self) -> "Figure":
        """`prospect_emu.fit.spectrum_plot.spectrum_figure` of this result."""
        from .spectrum_plot import spectrum_figure

        return spectrum_figure(self)

    def plot_sfh(self) -> "Figure":
        """`prospect_emu.fit.plots.sfh_figure` of this result."""
        from . import plots

        return plots.sfh_figure(self)

    def plot_corner(self, **kwargs: Any) -> "Figure":
        """`prospect_emu.fit.plots.corner_figure` of this result."""
        from . import plots

        return plots.corner_figure(self, **kwargs)

    def __repr__(self) -> str:
        return (
            f"<FitResult: {len(self.parameters)} free parameters, {self.info['status']}, "
            f"ln Z = {self.logz:.2f} +- {self.logz_err:.2f}, {self.n_eff:.0f} effective samples>"
        )

    def _repr_html_(self) -> str:
        return conversions.as_html(self)

    # ---- files ------------------------------------------------------------

    def write(self, path: str | Path, overwrite: bool = False) -> None:
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
    def read(cls, path: str | Path) -> Self:
        """Read what `write` wrote. Nothing is unpickled.

        Raises
        ------
        DataError
            If the file is missing, truncated, damaged or of another program.
        """
        return cls(**result_file.read(path))
