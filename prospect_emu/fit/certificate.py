"""Was the emulator good enough for this galaxy? Pareto-smoothed importance sampling says.

Posterior draws are weighted by the ratio of two likelihoods: of exact fluxes with
the observed errors, and of emulated fluxes with the errors that include the
emulator's. If the weights are well behaved, the weighted draws are the posterior
that a fit without emulator would have given; if they are not, no weighting
of these draws can tell, and the fit has to be repeated.
"""

from dataclasses import dataclass
from importlib.metadata import entry_points

import numpy as np

from ..errors import DataError, SetupError
from ..sampling.pareto import log_mean_ratio, pareto_smooth, pareto_threshold
from .likelihood import Gaussian, Independent
from .quantiles import weighted_quantiles

GOOD, CORRECTED, REFIT = "good", "corrected", "refit"

# Fewer effective draws than this say little about a 16th percentile.
MIN_EFFECTIVE = 100
# Sigma: as much as short walks scatter a posterior mean from run to run.
MAX_SHIFT = 0.25


@dataclass(frozen=True, eq=False)
class Certificate:
    """What exact fluxes say about a fit with an emulator. `certify` makes it.

    Attributes
    ----------
    verdict : str
        "good": every median moves by less than 0.25 sigma. "corrected": some move
        further, and the weights give the corrected posterior. "refit": the
        weights cannot be relied on.
    reason : str
        One sentence.
    engine : str
        What computed the exact fluxes.
    index : ndarray of int, shape (n,)
        The draws: rows of the result's samples, repeats included.
    log_ratio : ndarray, shape (n,)
        ln of exact over emulated likelihood.
    weights : ndarray, shape (n,)
        Pareto-smoothed and normalised.
    exact : ndarray, shape (n, nband)
        Exact fluxes in maggies.
    pareto_k, threshold : float
        Shape of the weights' tail, and the value up to which `n` draws suffice.
    effective_fraction : float
        Effective draws, ``1 / sum(weights**2)``, over draws.
    dlogz, dlogz_err : float
        To be added to ln Z.
    shift, width : dict of float
        By parameter and derived quantity: corrected minus emulated median in
        units of sigma (half the 16-84 interval, mean square of both), and the ratio
        of the two intervals.
    """

    verdict: str
    reason: str
    engine: str
    index: np.ndarray
    log_ratio: np.ndarray
    weights: np.ndarray
    exact: np.ndarray
    pareto_k: float
    threshold: float
    effective_fraction: float
    dlogz: float
    dlogz_err: float
    shift: dict
    width: dict

    @property
    def max_shift(self):
        """The largest shift, by its size."""
        return max(self.shift.values(), key=abs)

    @property
    def arrays(self):
        """The array attributes by name."""
        return {k: getattr(self, k) for k in ("index", "log_ratio", "weights", "exact")}

    @property
    def numbers(self):
        """All other attributes by name, JSON-serialisable."""
        return {k: v for k, v in vars(self).items() if k not in self.arrays}

    def __str__(self):
        name = max(self.shift, key=lambda k: abs(self.shift[k]))
        return (
            f"{self.verdict}: {self.reason} (Pareto k {self.pareto_k:.2f}, limit "
            f"{self.threshold:.2f}; {100 * self.effective_fraction:.0f} % of {self.index.size} "
            f"draws effective; largest shift {self.shift[name]:+.2f} sigma in {name}; "
            f"ln Z {self.dlogz:+.2f} +- {self.dlogz_err:.2f}; exact fluxes: {self.engine})"
        )


def certify(result, exact, n=1000, seed=0, engine="exact", likelihood=None):
    """Compare a fit with exact fluxes of its posterior draws.

    Parameters
    ----------
    result : FitResult
    exact : callable
        Parameter vectors (m, 18) -> fluxes (m, nband) in maggies, in all bands of
        ``result.photometry.bands``; `find_engine` gives one.
    n : int
        Draws; more allow for larger weights.
    seed : int
    engine : str
        Name of what computes the fluxes.
    likelihood : callable, optional
        Exact fluxes (m, nfitted) of the fitted bands and parameters (m, nfree)
        -> (m,); needed where the fit had a noise model or outliers (see
        `prospect_emu.fit.likelihood.compile_likelihood`). Default: Gaussian, with the
        observed errors and upper limits of the result.

    Returns
    -------
    Certificate
        ``dataclasses.replace(result, certificate=certificate)`` keeps it.

    Raises
    ------
    DataError
        If the fit had another likelihood than the default, and none is given; or
        the exact fluxes are not finite.
    """
    if n < 2 * MIN_EFFECTIVE:
        raise DataError(
            f"{n} draws are too few for a certificate; take {2 * MIN_EFFECTIVE} or more."
        )
    p = result.photometry
    if likelihood is None:
        _check_default(result)
        likelihood = _gaussian(p, p.unc_observed)
    index = result.draw(n, seed)
    rows, where = np.unique(index, return_inverse=True)
    fluxes = np.asarray(exact(result.vectors[rows]), dtype=float)
    if fluxes.shape != (rows.size, len(p.bands)) or not np.isfinite(fluxes[:, p.mask]).all():
        raise DataError(
            f"{engine} gave fluxes of shape {fluxes.shape} that cannot be used; expected are "
            f"finite ones of shape {(rows.size, len(p.bands))}."
        )
    log_like = likelihood(fluxes[:, p.mask].copy(), result.samples[rows])
    log_ratio = (log_like - result.log_likelihood[rows])[where]
    log_weights, k = pareto_smooth(log_ratio)
    weights = np.exp(log_weights)
    columns = {name: column[index] for name, column in result.columns().items()}
    shift, width = compare(columns, weights)
    effective = 1.0 / np.sum(weights**2)
    threshold = pareto_threshold(n)
    verdict, reason = judge(k, threshold, effective, shift)
    dlogz, dlogz_err = log_mean_ratio(log_ratio, log_weights)
    return Certificate(
        verdict=verdict,
        reason=reason,
        engine=engine,
        index=index,
        log_ratio=log_ratio,
        weights=weights,
        exact=fluxes[where],
        pareto_k=k,
        threshold=threshold,
        effective_fraction=effective / n,
        dlogz=dlogz,
        dlogz_err=dlogz_err,
        shift=shift,
        width=width,
    )


def find_engine(emulator, tables=None):
    """What can compute exact fluxes here: ExactSPS if there are tables, else FSPS.

    The engines are entry points of the group ``prospect_emu.engines``, so that a
    fit needs neither torch nor FSPS.

    Parameters
    ----------
    emulator : Emulator
        Whose bands and libraries the engine must share.
    tables : path-like, optional
        Of ExactSPS; no other engine is tried if it is given.

    Returns
    -------
    name : str
    maggies : callable
        For `certify`.

    Raises
    ------
    SetupError
        If there is none; the message says why for each.
    """
    failures = []
    for entry in sorted(entry_points(group="prospect_emu.engines"), key=lambda e: e.name):
        try:
            return entry.load()(emulator, tables)
        except (SetupError, ImportError) as err:
            if tables is not None:
                raise SetupError(f"{tables} cannot certify this fit: {err}.") from err
            failures.append(f"{entry.name}: {err}")
    raise SetupError(
        "Nothing here computes exact fluxes for a certificate; fix one of these, or fit without "
        f"it. {'; '.join(failures) or 'prospect_emu.training is not installed'}."
    )


# ---- verdict ----------------------------------------------------------------------


def compare(columns, weights):
    """How far weights move medians and stretch intervals.

    Parameters
    ----------
    columns : dict of ndarray, each of shape (n,)
        Draws of equal weight.
    weights : ndarray, shape (n,)

    Returns
    -------
    shift, width : dict of float
        See `Certificate`.
    """
    values = np.stack(list(columns.values()), axis=1)
    q = (0.16, 0.5, 0.84)
    before = weighted_quantiles(values, np.full(len(values), 1.0 / len(values)), q)
    after = weighted_quantiles(values, weights, q)
    half = [0.5 * (x[2] - x[0]) for x in (before, after)]
    sigma = np.sqrt(0.5 * (half[0] ** 2 + half[1] ** 2))
    with np.errstate(divide="ignore", invalid="ignore"):
        shift = np.where(sigma > 0, (after[1] - before[1]) / sigma, 0.0)
        width = np.where(half[0] > 0, half[1] / half[0], 1.0)
    names = list(columns)
    return dict(zip(names, shift.tolist(), strict=True)), dict(
        zip(names, width.tolist(), strict=True)
    )


def judge(k, threshold, effective, shift):
    """Verdict and reason."""
    if not k <= threshold:
        return REFIT, "a few draws carry the exact posterior, which the weights cannot give"
    if effective < MIN_EFFECTIVE:
        return REFIT, f"only {effective:.0f} draws are effective; more draws may do"
    if max(map(abs, shift.values())) <= MAX_SHIFT:
        return GOOD, f"no median moves by more than {MAX_SHIFT:g} sigma"
    return CORRECTED, "the weighted draws are the posterior to use"


def _gaussian(photometry, unc):
    flux, unc, upper = (
        a[photometry.mask] for a in (photometry.maggies, unc, photometry.upper_limits)
    )
    return Independent(flux, unc, upper) if upper.any() else Gaussian(flux, unc)


def _check_default(result):
    """The stored likelihood must be the one that is about to be replaced."""
    if result.info.get("covariance"):
        return  # its diagonal alone is stored, and not needed
    p = result.photometry
    best = int(np.argmax(result.log_posterior))
    again = _gaussian(p, p.unc)(p.best[p.mask][None].copy(), result.samples[best : best + 1])[0]
    stored = result.log_likelihood[best]
    if abs(again - stored) > 0.01 + 1e-3 * abs(stored):
        raise DataError(
            "The fit had a noise model or outliers: its likelihood does not follow from its "
            "photometry; pass certify its likelihood= with the observed errors."
        )
