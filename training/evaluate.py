"""Residuals of an emulator: statistics per band, tails, and what is good enough.

Residuals ``r`` (n, nband) are emulator minus FSPS in arsinh magnitudes. Where they are
called bright, FSPS's own flux is brighter than AB `BRIGHT`: fainter than that nothing is
observed, and arsinh magnitudes damp errors.
"""

from dataclasses import dataclass, replace
from importlib import metadata

import numpy as np
from astropy.table import Table
from scipy.stats import norm

from prospect_emu.networks.emulator_base import unmeasured
from prospect_emu.networks.vector import PARAMETERS, RATIO_NAMES
from prospect_emu.observe.filters import curve_hash, load_filters
from prospect_emu.observe.magnitudes import A, maggies_to_arsinh

# Probabilities of -4..4 Gaussian sigma, as in Mathews et al. (2023).
PROBABILITIES = norm.cdf(np.arange(-4, 5))
LEVELS = ["-4 sigma", "-3 sigma", "-2 sigma", "-1 sigma", "0 sigma"]
LEVELS += [f"+{i} sigma" for i in range(1, 5)]
BRIGHT = 30.0
# Edges of bins in the largest |logsfr_ratio| of a history.
HISTORY_EDGES = (0.0, 1.0, 2.0, 3.0, 5.0)
# What `error_needed` asks of an emulator: the first adds 5 % to an error bar, and the
# second leaves few galaxies whose photometry is wrong by more than it was measured to.
STD_SHARE, ERRORS_WITHIN = 1.0 / 3.0, 0.99
# Fewer samples than this say nothing about a standard deviation (1 / sqrt(2 n) = 13 %).
LEAST = 30


def residuals(emulator, theta, maggies):
    """Emulator minus FSPS in arsinh magnitudes, shape (n, nband)."""
    return emulator.magnitudes(theta) - maggies_to_arsinh(maggies)


def statistics(r):
    """Statistics of residuals that an emulator carries with it.

    Returns
    -------
    dict
        ``bias_mag``, ``sigma_mag`` (nband,), ``covariance`` (nband, nband) and
        ``quantiles`` (nband, 9) at `PROBABILITIES`.
    """
    return {
        "bias_mag": r.mean(axis=0),
        "sigma_mag": r.std(axis=0, ddof=1),
        "covariance": np.cov(r, rowvar=False),
        "quantiles": np.quantile(r, PROBABILITIES, axis=0).T,
    }


def residual_statistics(emulator, theta, maggies):
    """`statistics` of an emulator's residuals from FSPS's `maggies` (n, nband)."""
    return statistics(residuals(emulator, theta, maggies))


def package(kind, name, test_store, label, training, **fields):
    """An emulator of a test set's recipe, measured on it.

    Parameters
    ----------
    kind : type
        Of emulator.
    name : str
    test_store : SampleStore
        FSPS samples. Their recipe names bands, fixed parameters and ranges.
    label : str or None
        What to call the isochrones and spectral library.
    training : dict
        For the manifest.
    **fields
        What this kind of emulator has besides.
    """
    recipe = test_store.recipe
    emulator = kind(
        name=name,
        parameters=PARAMETERS,
        bounds=recipe.bounds,
        filters=recipe.filters,
        filter_hashes=tuple(curve_hash(f) for f in load_filters(recipe.filters)),
        **unmeasured(len(recipe.filters)),
        manifest={
            "recipe": recipe.as_dict(),
            "versions": test_store.manifest["versions"],
            "label": label,
            "training": training | {"prospect_emu": metadata.version("prospect_emu")},
        },
        **fields,
    )
    return measured(emulator, test_store)


def measured(emulator, test_store):
    """The emulator with its `residual_statistics` on FSPS samples, which its manifest names."""
    test = test_store.load()
    emulator.manifest["test"] = {
        "samples": len(test["theta"]),
        "source": "python-fsps",
        "fingerprint": test_store.fingerprint,
        "mfrac_std": float(np.std(emulator.mfrac(test["theta"]) - test["mfrac"])),
    }
    return replace(emulator, **residual_statistics(emulator, test["theta"], test["maggies"]))


def table_of(filters, r):
    """Bias, standard deviation and quantiles per band as an astropy table (magnitudes).

    Columns ``-4 sigma`` to ``+4 sigma`` hold the quantiles at the probabilities of so
    many Gaussian standard deviations; ``0 sigma`` is the median.
    """
    stats = statistics(r)
    columns = {"band": filters, "bias": stats["bias_mag"], "std": stats["sigma_mag"]}
    return Table(columns | dict(zip(LEVELS, stats["quantiles"].T, strict=True)))


def band_table(emulator, theta, maggies):
    """`table_of` an emulator's residuals from FSPS's `maggies`."""
    return table_of(emulator.filters, residuals(emulator, theta, maggies))


def summary(table):
    """One sentence on a `band_table`: median and worst standard deviation and bias."""
    bands, std, bias = table["band"], table["std"], np.abs(table["bias"])
    worst, skewed = np.argmax(std), np.argmax(bias)
    return (
        f"{len(table)} bands: std median {np.median(std):.2g}, worst {std[worst]:.2g} "
        f"({bands[worst]}); |bias| median {np.median(bias):.2g}, worst {bias[skewed]:.2g} "
        f"({bands[skewed]}) mag."
    )


def is_bright(maggies):
    """Whether fluxes are brighter than AB `BRIGHT`, shape of `maggies`."""
    return maggies_to_arsinh(maggies) < BRIGHT


def share_within(r, bright, limit=0.05):
    """Share of the bright residuals whose size is below `limit` (mag); nan without any."""
    return float((np.abs(r[bright]) < limit).mean()) if bright.any() else np.nan


def scaled(r):
    """|residuals| in standard deviations of their band; a band without any error counts as zero."""
    sigma = r.std(axis=0, ddof=1)
    return np.abs(r) / np.where(sigma > 0.0, sigma, 1.0)


def reach(r, levels=(1, 2, 3, 4)):
    """How many standard deviations hold what so many hold of a Gaussian, all bands together."""
    return np.quantile(scaled(r), 1.0 - 2.0 * norm.sf(np.asarray(levels)))


def beyond(x, levels):
    """Share of `x` above each of `levels`, shape of `levels`."""
    return 1.0 - np.searchsorted(np.sort(np.ravel(x)), levels, side="right") / np.size(x)


def correlation(r):
    """Correlation matrix of residuals, (nband, nband); a band without errors has none."""
    with np.errstate(invalid="ignore"):
        out = np.nan_to_num(np.atleast_2d(np.corrcoef(r, rowvar=False)))
    np.fill_diagonal(out, 1.0)
    return out


def independent_bands(r):
    """How many independent bands the correlated ones are worth.

    The participation ratio of the eigenvalues of the correlation matrix: the number of
    bands if none is correlated, one if all are alike.
    """
    eig = np.linalg.eigvalsh(correlation(r))
    return float(eig.sum() ** 2 / (eig**2).sum())


def binned_std(x, r, edges):
    """Samples (nbin,) and standard deviation (nbin, nband) of those whose `x` is in each bin.

    The last bin includes its end; bins with fewer than `LEAST` samples have nan.
    """
    edges = np.asarray(edges, dtype=float)
    nbin = edges.size - 1
    which = np.where(x == edges[-1], nbin - 1, np.searchsorted(edges, x, side="right") - 1)
    count = np.array([(which == i).sum() for i in range(nbin)])
    std = np.full((nbin, r.shape[1]), np.nan)
    for i in np.flatnonzero(count >= LEAST):
        std[i] = r[which == i].std(axis=0, ddof=1)
    return count, std


def history_std(theta, r):
    """`binned_std` over the largest |logsfr_ratio| of each sample, in `HISTORY_EDGES`."""
    columns = [PARAMETERS.index(name) for name in RATIO_NAMES]
    return binned_std(np.abs(theta[:, columns]).max(axis=1), r, HISTORY_EDGES)


@dataclass(frozen=True)
class Needed:
    """Smallest relative flux errors that the standard deviations and the large errors allow."""

    std: float
    tail: float

    @property
    def error(self):
        """Smallest relative flux error for which the emulator is good enough."""
        return max(self.std, self.tail)


def error_needed(r, bright):
    """Smallest relative flux error for which an emulator is good enough; a `Needed`.

    It is if (1) in every band the standard deviation of its residuals is at most
    `STD_SHARE` of the observational error, and (2) `ERRORS_WITHIN` of its residuals that
    are `bright` (n, nband), all bands together, are at most that error; without any (2)
    asks nothing.
    """
    # A relative error of a bright flux is A times as much in magnitudes.
    tail = np.quantile(np.abs(r[bright]), ERRORS_WITHIN) if bright.any() else 0.0
    return Needed(float(r.std(axis=0, ddof=1).max() / STD_SHARE / A), float(tail / A))


@dataclass(frozen=True)
class PowerLaw:
    """``y = at_100 (width / 100)^exponent``; `error` is the exponent's from the scatter, or nan."""

    at_100: float
    exponent: float
    error: float

    def __call__(self, width):
        return self.at_100 * (np.asarray(width) / 100.0) ** self.exponent

    def width(self, y):
        """Where the law reaches `y`; nan if that is at no finite width."""
        with np.errstate(all="ignore"):
            width = 100.0 * (y / self.at_100) ** (1.0 / np.float64(self.exponent))
        return float(width) if np.isfinite(width) else np.nan


def power_law(width, y):
    """Least-squares `PowerLaw`; None with fewer than two widths or a `y` that is not positive."""
    if not np.all(np.asarray(y) > 0.0) or np.unique(width).size < 2:
        return None
    x, ln = np.log(np.asarray(width, dtype=float) / 100.0), np.log(np.asarray(y, dtype=float))
    error = np.nan
    if x.size > 2:
        error = float(np.sqrt(np.polyfit(x, ln, 1, cov=True)[1][0, 0]))
    slope, level = np.polyfit(x, ln, 1)
    return PowerLaw(float(np.exp(level)), float(slope), error)


def smallest_width(widths, needed, floor):
    """The smallest of `widths` (None: no network) whose `needed` error is at most `floor`."""
    good = [w for w, e in zip(widths, needed, strict=True) if w is not None and e <= floor]
    return min(good, default=None)
