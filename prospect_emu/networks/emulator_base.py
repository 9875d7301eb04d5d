"""What every emulator of the 18-parameter model has, and the scaling by mass and distance."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from numbers import Real
from pathlib import Path
from typing import ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike

from ..errors import FilterError, RangeError
from ..files import load_model, read_kind, save_tensors
from ..observe.filters import nearest_names
from ..observe.magnitudes import maggies_to_arsinh
from . import sfh
from .error_table import ErrorTable
from .vector import PARAMETERS

# The network predicts arsinh magnitudes of a galaxy of this mass formed at this
# distance; mass and distance then scale the flux exactly.
REFERENCE_LOGMASS = 12.5
REFERENCE_MPC = 1000.0


def reference_scale(logmass, zred):
    """Factor from the flux at the reference mass and distance to the apparent flux.

    ``10**(logmass - 12.5) (1 + z) (1 Gpc / D_L(z))^2``, shape (...).
    """
    ratio = REFERENCE_MPC / sfh.luminosity_distance(zred)
    return 10.0 ** (np.asarray(logmass) - REFERENCE_LOGMASS) * (1.0 + np.asarray(zred)) * ratio**2


# Error statistics by their name in a file.
STATISTICS = {
    "stats/bias": "bias_mag",
    "stats/sigma": "sigma_mag",
    "stats/covariance": "covariance",
    "stats/quantiles": "quantiles",
}


def unmeasured(nband, value=0.0):
    """Error statistics of an emulator that was compared with nothing yet."""
    return {
        "bias_mag": np.full(nband, value),
        "sigma_mag": np.full(nband, value),
        "covariance": np.full((nband, nband), value),
        "quantiles": np.full((nband, 9), value),
    }


@dataclass(frozen=True, repr=False)
class EmulatorBase:
    """What every emulator of FSPS photometry for the 18-parameter model has.

    Use `load_emulator` to get one. Instances do not change.

    Attributes
    ----------
    name : str
    parameters : tuple of str
        Names, in the order of a parameter vector.
    bounds : ndarray, shape (nparam, 2)
        The range of each parameter: the training box.
    filters : tuple of str
        Names of the emulated bands.
    filter_hashes : tuple of str
        SHA-256 of each transmission curve (`prospect_emu.observe.filters.curve_hash`).
    bias_mag, sigma_mag : ndarray, shape (nband,)
        Mean and standard deviation of the test-set residuals, emulator minus
        FSPS, in arsinh magnitudes (u0 = 35).
    covariance : ndarray, shape (nband, nband)
        Covariance of the same residuals, mag^2.
    quantiles : ndarray, shape (nband, 9)
        Their quantiles at the probabilities of -4..4 Gaussian sigma.
    manifest : dict
        Provenance: recipe, FSPS libraries and versions, fixed parameters,
        training settings, checksums.
    errors : ErrorTable or None
        Errors of galaxies brighter than AB 30, by redshift and dust2; see `sigma_at`.
    """

    name: str
    parameters: tuple[str, ...]
    bounds: np.ndarray
    filters: tuple[str, ...]
    filter_hashes: tuple[str, ...]
    bias_mag: np.ndarray
    sigma_mag: np.ndarray
    covariance: np.ndarray
    quantiles: np.ndarray
    manifest: dict
    errors: ErrorTable | None = field(default=None, kw_only=True)

    KIND: ClassVar[str]
    SCHEMA: ClassVar[int]
    OLD_KINDS: ClassVar[tuple] = ()

    def index(self, parameter: str) -> int:
        """Position of a parameter in the vector."""
        return self.parameters.index(parameter)

    @property
    def fixed(self) -> dict:
        """Fixed FSPS and Prospector parameters that the emulator assumes."""
        return self.manifest["recipe"]["fixed"]

    @property
    def libraries(self) -> str:
        """Names of the isochrones and the spectral library."""
        label = self.manifest.get("label")
        return label or ", ".join(self.manifest["versions"]["libraries"])

    def check(self, theta: ArrayLike) -> None:
        """Raise `RangeError` unless all of `theta` (..., nparam) is finite and in the box."""
        theta = np.asarray(theta, dtype=float)
        n = len(self.parameters)
        if theta.shape[-1:] != (n,):
            raise RangeError(
                f"A parameter vector of emulator {self.name!r} has {n} values "
                f"({', '.join(self.parameters)}); got an array of shape {theta.shape}."
            )
        # Bounds are doubles of round decimals; a prior's own edge may sit one ulp off.
        slack = 1e-9 * (self.bounds[:, 1] - self.bounds[:, 0])
        bad = ~((theta >= self.bounds[:, 0] - slack) & (theta <= self.bounds[:, 1] + slack))
        if bad.any():
            where = np.argwhere(bad)[0]
            i = where[-1]
            lo, hi = self.bounds[i]
            raise RangeError(
                f"{self.parameters[i]} = {theta[tuple(where)]:.6g} lies outside the training box "
                f"[{lo:.6g}, {hi:.6g}] of emulator {self.name!r}, which does not extrapolate."
            )

    def maggies(self, theta: ArrayLike, check: bool = True) -> np.ndarray:
        """Apparent fluxes.

        Parameters
        ----------
        theta : array_like, shape (..., nparam)
            In the order of `parameters`.
        check : bool
            Verify that `theta` lies inside the training box. A sampler whose
            prior was verified once may leave it out.

        Returns
        -------
        ndarray, shape (..., nband)
            maggies, of the total mass formed ``10**logmass`` at ``zred``.

        Raises
        ------
        RangeError
            If `theta` has the wrong length, is not finite or leaves the box.
        """
        theta = np.asarray(theta, dtype=float)
        if check:
            self.check(theta)
        flat = theta.reshape(-1, len(self.parameters))
        scale = reference_scale(flat[:, 0], flat[:, self.index("zred")])
        maggies = self.reference_maggies(flat) * scale[:, None]
        return maggies.reshape(*theta.shape[:-1], len(self.filters))

    def reference_maggies(self, theta: np.ndarray) -> np.ndarray:
        """Fluxes at the reference mass and distance, (n, nband) of `theta` (n, nparam), unchecked.

        `reference_scale` turns them into apparent fluxes; with the redshift fixed
        that is one power of ten, and no cosmology, per galaxy.
        """
        raise NotImplementedError

    def at_redshift(self, zred):
        """An object with `reference_maggies` for parameter vectors at one redshift.

        Raises
        ------
        RangeError
            If `zred` is no redshift, or not one of the emulator's.
        """
        self.check_redshift(zred)
        return self

    def check_redshift(self, zred):
        """Raise `RangeError` unless `zred` is a number in the emulator's range of redshifts."""
        low, high = self.bounds[self.index("zred")]
        number = isinstance(zred, Real) and not isinstance(zred, bool)
        if not (number and low <= zred <= high and zred > 0):
            shown = f"{zred:g}" if number else repr(zred)
            raise RangeError(
                f"The redshift {shown} lies outside {low:g} to {high:g}, the range of emulator "
                f"{self.name!r}; use an emulator that covers it (prospect-emu list)."
            )

    def magnitudes(self, theta: ArrayLike, check: bool = True) -> np.ndarray:
        """Apparent arsinh magnitudes (u0 = 35), shape (..., nband); see `maggies`."""
        return maggies_to_arsinh(self.maggies(theta, check))

    def mfrac(self, theta: ArrayLike, check: bool = True) -> np.ndarray:
        """Surviving mass fraction, shape (...)."""
        theta = np.asarray(theta, dtype=float)
        if check:
            self.check(theta)
        return self._mfrac(theta.reshape(-1, len(self.parameters))).reshape(theta.shape[:-1])

    def sigma_at(self, theta):
        """Errors (n, nband) stated for vectors (n, nparam), arsinh magnitudes, bias included.

        `sigma_mag`, whatever the vector, if the file has no `errors`.
        """
        theta = np.asarray(theta, dtype=float)
        if self.errors is None:
            return np.broadcast_to(self.sigma_mag, (len(theta), len(self.filters)))
        return self.errors.at(theta[:, self.index("zred")], theta[:, self.index("dust2")])

    def select(self, names: Iterable[str]) -> Self:
        """The emulator restricted to the bands `names`, in that order.

        Raises
        ------
        FilterError
            If a band is not emulated; all such bands and the nearest names are listed.
        """
        names = tuple(names)
        if names == self.filters:
            return self
        unknown = [n for n in names if n not in self.filters]
        if unknown:
            lines = []
            for n in unknown:
                near = nearest_names(n, self.filters)
                lines.append(n + (f" (nearest: {', '.join(near)})" if near else ""))
            raise FilterError(
                f"Emulator {self.name!r} does not know {len(unknown)} of the bands asked for: "
                f"{'; '.join(lines)}. Mask them out, or train an emulator with these filters."
            )
        cols = np.array([self.filters.index(n) for n in names], dtype=int)
        return replace(
            self,
            filters=names,
            filter_hashes=tuple(self.filter_hashes[i] for i in cols),
            bias_mag=self.bias_mag[cols],
            sigma_mag=self.sigma_mag[cols],
            covariance=self.covariance[np.ix_(cols, cols)],
            quantiles=self.quantiles[cols],
            errors=None if self.errors is None else self.errors.select(cols),
            **self._outputs(cols),
        )

    def save(self, path: str | Path) -> None:
        """Write the emulator into one safetensors file (atomic)."""
        tensors = self._tensors() | {k: getattr(self, v) for k, v in STATISTICS.items()}
        tensors |= {} if self.errors is None else self.errors.tensors()
        manifest = {
            **self.manifest,
            "kind": self.KIND,
            "schema": self.SCHEMA,
            "name": self.name,
            "parameters": list(self.parameters),
            "bounds": self.bounds.tolist(),
            "filters": list(self.filters),
            "filter_hashes": list(self.filter_hashes),
        }
        save_tensors(path, tensors, manifest)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """Read an emulator file; see `load_emulator`."""

        def build(tensors, m):
            common = {
                "name": str(m["name"]),
                "parameters": tuple(m["parameters"]),
                "bounds": np.array(m["bounds"], dtype=float),
                "filters": tuple(m["filters"]),
                "filter_hashes": tuple(m["filter_hashes"]),
                **{v: tensors[k] for k, v in STATISTICS.items()},
                "manifest": m,
                "errors": ErrorTable.from_tensors(tensors),
            }
            emulator = cls._from_tensors(common, tensors, str(path))
            emulator.fixed, m["versions"]["libraries"]
            return emulator, emulator._inconsistency()

        kind = read_kind(path, (cls.KIND, *cls.OLD_KINDS))
        return load_model(path, kind, cls.SCHEMA, build)

    # ---- what a kind of emulator must supply ---------------------------------

    def _mfrac(self, theta):
        raise NotImplementedError

    def _outputs(self, columns):
        """Fields of the emulator restricted to the bands `columns`."""
        raise NotImplementedError

    def _tensors(self):
        raise NotImplementedError

    @classmethod
    def _from_tensors(cls, common, tensors, where):
        raise NotImplementedError

    def _inconsistency(self):
        """What does not fit together in an emulator read from a file, or None."""
        nband, npar = len(self.filters), len(self.parameters)
        if self.parameters != PARAMETERS:
            return f"its parameters are {', '.join(self.parameters)}"
        shapes = {
            "bounds": (self.bounds, (npar, 2)),
            "bias": (self.bias_mag, (nband,)),
            "sigma": (self.sigma_mag, (nband,)),
            "covariance": (self.covariance, (nband, nband)),
            "quantiles": (self.quantiles, (nband, self.quantiles.shape[-1])),
        }
        for name, (array, shape) in shapes.items():
            if array.shape != shape:
                return f"{name} has shape {array.shape} for {npar} parameters and {nband} bands"
            if not np.isfinite(array).all():
                return f"{name} is not finite"
        if self.errors is not None and (problem := self.errors.inconsistency(nband)):
            return problem
        if len(self.filter_hashes) != nband:
            return f"{len(self.filter_hashes)} curve hashes for {nband} bands"
        return None
