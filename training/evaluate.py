"""Residuals of an emulator, emulator minus FSPS in arsinh magnitudes, and all said of them."""

from dataclasses import replace
from functools import cached_property
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
LEVELS = [f"{i:+d} sigma" if i else "0 sigma" for i in range(-4, 5)]
# AB; fainter than that nothing is observed, and arsinh magnitudes damp errors.
BRIGHT = 30.0
# Edges of bins in the largest |logsfr_ratio| of a history.
HISTORY_EDGES = (0.0, 1.0, 2.0, 3.0, 5.0)
# What `Residuals.needed` asks of an emulator: the first adds 5 % to an error bar, and the
# second leaves few galaxies whose photometry is wrong by more than it was measured to.
STD_SHARE, ERRORS_WITHIN = 1.0 / 3.0, 0.99
# Fewer samples than this say nothing about a standard deviation (1 / sqrt(2 n) = 13 %).
LEAST = 30


class Residuals:
    """Statistics of residuals per band.

    Parameters
    ----------
    values : ndarray, shape (n, nband)
        Emulator minus FSPS, arsinh magnitudes.
    bright : ndarray of bool, shape (n, nband), optional
        Where FSPS's own flux is brighter than AB `BRIGHT`; default everywhere.
    filters : sequence of str, optional

    Attributes
    ----------
    bias, std : ndarray, shape (nband,)
    """

    def __init__(self, values, bright=None, filters=None):
        self.values, self.filters = values, filters
        self.bright = np.ones(values.shape, dtype=bool) if bright is None else bright
        self.bias, self.std = values.mean(axis=0), values.std(axis=0, ddof=1)

    @classmethod
    def of(cls, emulator, theta, maggies):
        """Those of an emulator from FSPS's `maggies` (n, nband) of `theta` (n, 18)."""
        truth = maggies_to_arsinh(maggies)
        return cls(emulator.magnitudes(theta) - truth, truth < BRIGHT, emulator.filters)

    @cached_property
    def quantiles(self):
        """At `PROBABILITIES`, (nband, 9)."""
        return np.quantile(self.values, PROBABILITIES, axis=0).T

    @property
    def table(self):
        """Bias, standard deviation and quantiles per band, an astropy table (mag).

        Columns ``-4 sigma`` to ``+4 sigma`` hold the quantiles at the probabilities of so
        many Gaussian standard deviations; ``0 sigma`` is the median.
        """
        columns = {"band": self.filters, "bias": self.bias, "std": self.std}
        return Table(columns | dict(zip(LEVELS, self.quantiles.T, strict=True)))

    def __str__(self):
        std, bias = self.std, np.abs(self.bias)
        worst, skewed = np.argmax(std), np.argmax(bias)
        return (
            f"{std.size} bands: std median {np.median(std):.2g}, worst {std[worst]:.2g} "
            f"({self.filters[worst]}); |bias| median {np.median(bias):.2g}, worst "
            f"{bias[skewed]:.2g} ({self.filters[skewed]}) mag."
        )

    @cached_property
    def scaled(self):
        """Sizes in standard deviations of their band; a band without any error counts as zero."""
        return np.abs(self.values) / np.where(self.std > 0.0, self.std, 1.0)

    @cached_property
    def reach(self):
        """How many standard deviations hold what 1, 2, 3, 4 hold of a Gaussian, all bands."""
        return np.quantile(self.scaled, 1.0 - 2.0 * norm.sf([1, 2, 3, 4]))

    def within(self, limit):
        """Share of the bright ones whose size is below `limit` (mag); nan without any."""
        bright = np.abs(self.values[self.bright])
        return float((bright < limit).mean()) if bright.size else np.nan

    @cached_property
    def correlation(self):
        """Correlation matrix, (nband, nband); a band without errors has none."""
        with np.errstate(invalid="ignore"):
            out = np.nan_to_num(np.atleast_2d(np.corrcoef(self.values, rowvar=False)))
        np.fill_diagonal(out, 1.0)
        return out

    @property
    def independent_bands(self):
        """How many independent bands the correlated ones are worth.

        The participation ratio of the eigenvalues of the correlation matrix: the number of
        bands if none is correlated, one if all are alike.
        """
        eig = np.linalg.eigvalsh(self.correlation)
        return float(eig.sum() ** 2 / (eig**2).sum())

    @cached_property
    def needed(self):
        """Smallest relative flux errors for which (standard deviations, large errors) are good.

        The emulator is good enough for an observational error if (1) in every band the
        standard deviation is at most `STD_SHARE` of it, and (2) `ERRORS_WITHIN` of the bright
        residuals, all bands together, are at most that error; without any (2) asks nothing.
        """
        bright = np.abs(self.values[self.bright])
        tail = np.quantile(bright, ERRORS_WITHIN) if bright.size else 0.0
        # A relative error of a bright flux is A times as much in magnitudes.
        return float(self.std.max() / STD_SHARE / A), float(tail / A)

    def binned(self, x, edges):
        """Samples (nbin,) and standard deviation (nbin, nband) where `x` (n,) is in each bin.

        The last bin includes its end; bins with fewer than `LEAST` samples have nan.
        """
        edges = np.asarray(edges, dtype=float)
        which = np.searchsorted(edges, x, side="right") - 1
        which[x == edges[-1]] -= 1
        count = np.array([(which == i).sum() for i in range(edges.size - 1)])
        std = np.full((count.size, self.std.size), np.nan)
        for i in np.flatnonzero(count >= LEAST):
            std[i] = self.values[which == i].std(axis=0, ddof=1)
        return count, std

    def by_history(self, theta):
        """`binned` by the largest |logsfr_ratio| of each sample, in `HISTORY_EDGES`."""
        columns = [PARAMETERS.index(name) for name in RATIO_NAMES]
        return self.binned(np.abs(theta[:, columns]).max(axis=1), HISTORY_EDGES)


def residual_statistics(emulator, theta, maggies):
    """Statistics of an emulator's residuals from FSPS's `maggies`: its own fields, by name."""
    r = Residuals.of(emulator, theta, maggies)
    return {
        "bias_mag": r.bias,
        "sigma_mag": r.std,
        "covariance": np.cov(r.values, rowvar=False),
        "quantiles": r.quantiles,
    }


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
        What to call the isochrones and spectral library, where FSPS's own names
        mislead (another library in the slot of one).
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
    mass = emulator.mfrac(test["theta"]) - test["mfrac"]
    emulator.manifest["test"] = {
        "samples": len(test["theta"]),
        "source": "python-fsps",
        "fingerprint": test_store.fingerprint,
        "mfrac_std": float(mass.std()),
        "mfrac_bias": float(mass.mean()),
    }
    return replace(emulator, **residual_statistics(emulator, test["theta"], test["maggies"]))
