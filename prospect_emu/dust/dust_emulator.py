"""The THEMIS dust emulator: starlight and grain sizes in, dust emission and its inverse out.

Parameters, in this order everywhere: the starlight intensity ``U`` (1 is 2.2e-2
erg/s/cm2 over 0.0912-8 micron), the age ``tau`` in years of the burst of star formation
that shines it, and the radius ``a_min`` in nm of the smallest grains.
"""

from dataclasses import dataclass, replace

import numpy as np

from ..errors import DataError, FilterError, RangeError
from ..files import bundled, find_bundled, load_model, save_tensors
from ..networks.network import MLP
from .tensor_net import TensorNet

KIND = "prospect_emu dust emulator"
SCHEMA = 1
PARAMETERS = ("U", "tau", "a_min")
UNITS = ("", "yr", "nm")
LUMINOSITY_UNIT = "W/(Hz kg)"
_BATCH = 8192
LN10 = np.log(10.0)
# Cells of the wavelength grid in a bin of a spectrum, as the inverse network reads it.
BIN = 4

# From W/Hz/kg to W/Hz per solar mass, and Jy of that at a megaparsec.
SOLAR_MASS = 1.98841e30
_MPC = 3.0856775814913673e22


_INVERSES = ("inverse", "spectrum_inverse")


@dataclass(frozen=True)
class DustEmulator:
    """An emulator of the emission of THEMIS dust.

    Use `load_dust_emulator` to get one. Instances do not change.

    Attributes
    ----------
    name : str
    bounds : ndarray, shape (3, 2)
        Training box in log10 of U, of tau in years and of a_min in nm.
    wavelengths : ndarray, shape (nwave,)
        micron, of a source at rest.
    bands : tuple of dict
        Per emulated band: name, reference wavelength in micron, shape of the reference
        spectrum for its monochromatic flux, SHA-256 of its transmission curve.
    spectrum_error, band_error : ndarray, shape (nwave,), (nband,)
        Standard deviation of ln(emulated / computed) on the test set, where the emission
        exceeds 1e-4 of its peak.
    manifest : dict
        Provenance.
    net : TensorNet
        From log10 parameters to ln of emission over U, first at the wavelengths, then in
        the bands.
    inverse, spectrum_inverse : MLP or None
        From bands, and from a spectrum, to the parameters: see `prospect_emu.dust.dust_network`.
    error_modes : ndarray, shape (k, nwave), or None
        What of `spectrum_error` neighbouring wavelengths share: ``modes.T @ modes`` is its
        covariance.
    """

    name: str
    bounds: np.ndarray
    wavelengths: np.ndarray
    bands: tuple
    spectrum_error: np.ndarray
    band_error: np.ndarray
    manifest: dict
    net: TensorNet
    inverse: MLP | None = None
    spectrum_inverse: MLP | None = None
    error_modes: np.ndarray | None = None

    def __post_init__(self):
        n = self.wavelengths.size
        object.__setattr__(self, "_spectrum_net", self.net.select(np.arange(n)))
        object.__setattr__(self, "_band_net", self.net.select(n + np.arange(len(self.bands))))

    def __repr__(self):
        widths = "-".join(str(n) for n in self.net.widths)
        return f"DustEmulator({self.name!r}, {self.wavelengths.size} wavelengths, {widths})"

    @property
    def parameters(self):
        """Names of the parameters."""
        return PARAMETERS

    @property
    def band_names(self):
        """Names of the emulated bands."""
        return tuple(b["name"] for b in self.bands)

    @property
    def band_wavelengths(self):
        """Reference wavelengths of the bands, micron, shape (nband,)."""
        return np.array([b["reference"] for b in self.bands])

    def log_parameters(self, u, tau, a_min):
        """log10 of the parameters, broadcast, shape (..., 3).

        Raises
        ------
        RangeError
            If one is not finite or leaves the training box.
        """
        try:
            given = np.broadcast_arrays(*(np.asarray(v, dtype=float) for v in (u, tau, a_min)))
        except ValueError as err:
            raise DataError(f"U, tau and a_min do not fit together ({err}).") from err
        with np.errstate(divide="ignore", invalid="ignore"):
            theta = np.log10(np.stack(given, axis=-1))
        lo, hi = self.bounds.T
        bad = ~((theta >= lo - 1e-9) & (theta <= hi + 1e-9))
        if bad.any():
            where = tuple(np.argwhere(bad)[0])
            i = int(where[-1])
            value, unit = np.stack(given, axis=-1)[where], UNITS[i]
            ends = " to ".join(f"{10.0**v:.6g}" for v in self.bounds[i])
            raise RangeError(
                f"{PARAMETERS[i]} = {value:.6g} {unit} lies outside the training box, "
                f"{ends} {unit}, of dust emulator {self.name!r}, which does not extrapolate."
                .replace("  ", " ").replace(" ,", ",")
            )  # fmt: skip
        return theta

    def ln_spectrum(self, theta):
        """ln of the emission in W/Hz/kg at log10 parameters (n, 3), unchecked, (n, nwave)."""
        return self._ln(self._spectrum_net, theta)

    def ln_photometry(self, theta):
        """ln of the emission in the bands at log10 parameters (n, 3), unchecked, (n, nband)."""
        return self._ln(self._band_net, theta)

    def _ln(self, net, theta):
        theta = np.asarray(theta, dtype=float)
        out = np.empty((len(theta), net.widths[-1]))
        for i in range(0, len(theta), _BATCH):
            part = theta[i : i + _BATCH]
            out[i : i + _BATCH] = net(part)
            out[i : i + _BATCH] += (LN10 * part[:, 0])[:, None]
        return out

    def spectrum(self, u, tau, a_min):
        """Emission per frequency and kilogram of dust at `wavelengths`.

        Parameters
        ----------
        u, tau, a_min : array_like
            Intensity of the starlight, age of its burst in years, smallest radius in nm;
            broadcast to one shape (...).

        Returns
        -------
        ndarray, shape (..., nwave)
            W/Hz/kg, into all directions.

        Raises
        ------
        RangeError
            If a parameter leaves the training box.
        """
        theta = self.log_parameters(u, tau, a_min)
        flat = self.ln_spectrum(theta.reshape(-1, 3))
        return np.exp(flat, out=flat).reshape(*theta.shape[:-1], self.wavelengths.size)

    def photometry(self, u, tau, a_min, bands=None):
        """Monochromatic emission per kilogram of dust as the instruments quote it.

        Parameters
        ----------
        u, tau, a_min : array_like
            As for `spectrum`.
        bands : sequence of str, optional
            Default all, in the order of `band_names`.

        Returns
        -------
        ndarray, shape (..., nband)
            W/Hz/kg at each band's reference wavelength, in its convention (`bands`).

        Raises
        ------
        RangeError, FilterError
        """
        # All bands, and then some: cheaper than to take the network apart.
        index = slice(None) if bands is None else self.band_index(bands)
        theta = self.log_parameters(u, tau, a_min)
        flux = np.exp(self.ln_photometry(theta.reshape(-1, 3))[:, index])
        return flux.reshape(*theta.shape[:-1], flux.shape[1])

    def select(self, names):
        """The emulator restricted to the bands `names`, in that order.

        Raises
        ------
        FilterError
            If a band is unknown or named twice.
        """
        index = self.band_index(names)
        n = self.wavelengths.size
        return replace(
            self,
            bands=tuple(self.bands[i] for i in index),
            band_error=self.band_error[index],
            net=self.net.select(np.concatenate([np.arange(n), n + index])),
            inverse=None,
        )

    def band_index(self, names):
        """Positions of bands among `band_names`, shape (n,)."""
        names = (names,) if isinstance(names, str) else tuple(names)
        known = self.band_names
        for name in names:
            if name not in known:
                from ..observe.filters import nearest_names

                near = nearest_names(name, known)
                listed = "see band_names, or prospect-emu dust photometry --list."
                hint = f"did you mean {', '.join(near)}?" if near else listed
                raise FilterError(f"Dust emulator {self.name!r} knows no band {name!r}; {hint}")
        if len(set(names)) != len(names):
            raise FilterError("A band is named twice; give each once.")
        return np.array([known.index(n) for n in names], dtype=int)

    def check_wavelengths(self, wavelengths):
        """Wavelengths (n,) of a spectrum, in micron, if they lie within the emulator's.

        Raises
        ------
        DataError, RangeError
        """
        where = np.atleast_1d(np.asarray(wavelengths, dtype=float))
        if where.ndim > 1:
            raise DataError("Wavelengths must be a list of numbers, one for each point.")
        if not np.isfinite(where).all():
            raise DataError("A wavelength is not finite; leave its row out.")
        lo, hi = self.wavelengths[[0, -1]]
        if not ((where >= lo) & (where <= hi)).all():
            raise RangeError(
                f"Wavelengths must lie within {lo:g} to {hi:g} micron, those of dust emulator "
                f"{self.name!r}; is the unit micron, and the source at rest?"
            )
        return where

    def save(self, path):
        """Write the emulator into one safetensors file (atomic)."""
        tensors = {
            **self.net.tensors("net"),
            "wavelengths": self.wavelengths,
            "error/spectrum": self.spectrum_error,
            "error/bands": self.band_error,
        }
        if self.error_modes is not None:
            tensors["error/modes"] = self.error_modes
        for part in _INVERSES:
            if getattr(self, part) is not None:
                tensors |= getattr(self, part).tensors(part)
        manifest = {
            **self.manifest,
            "kind": KIND,
            "schema": SCHEMA,
            "name": self.name,
            "parameters": list(PARAMETERS),
            "bounds": self.bounds.tolist(),
            "bands": list(self.bands),
            "unit": LUMINOSITY_UNIT,
        }
        save_tensors(path, tensors, manifest)

    @classmethod
    def load(cls, path):
        """Read an emulator file; see `load_dust_emulator`."""

        def build(tensors, m):
            where = str(path)
            found = [p for p in _INVERSES if any(k.startswith(f"{p}/") for k in tensors)]
            emulator = cls(
                name=str(m["name"]),
                bounds=np.array(m["bounds"], dtype=float),
                wavelengths=tensors["wavelengths"],
                bands=tuple(m["bands"]),
                spectrum_error=tensors["error/spectrum"],
                band_error=tensors["error/bands"],
                manifest=m,
                net=TensorNet.from_tensors(tensors, "net", where),
                error_modes=tensors.get("error/modes"),
                **{part: MLP.from_tensors(tensors, part, where) for part in found},
            )
            return emulator, emulator._inconsistency(tuple(m["parameters"]))

        return load_model(path, KIND, SCHEMA, build)

    def _inconsistency(self, parameters):
        nwave, nband = self.wavelengths.size, len(self.bands)
        if parameters != PARAMETERS:
            return f"its parameters are {', '.join(parameters)}"
        if self.bounds.shape != (3, 2):
            return "its bounds have another shape"
        if self.net.widths[-1] != nwave + nband:
            return f"its network has {self.net.widths[-1]} outputs"
        if self.spectrum_error.shape != (nwave,) or self.band_error.shape != (nband,):
            return "its errors have another shape"
        if self.error_modes is not None and self.error_modes.shape[1:] != (nwave,):
            return "its error modes have another shape"
        nets: list = [self.net]
        for part, channels in zip(_INVERSES, (nband, (nwave - 1) // BIN), strict=True):
            inverse = getattr(self, part)
            if inverse is not None and inverse.widths[0] != 2 * channels + 1:
                return f"its network {part!r} reads {inverse.widths[0]} numbers"
            nets += [inverse] if inverse else []
        if not all(np.isfinite(a).all() for n in nets for a in n.tensors("").values()):
            return "a network is not finite"
        if any(set(b) < {"name", "reference", "shape", "hash"} for b in self.bands):
            return "a band lacks its description"
        return None


def flux_density(luminosity, mass, distance):
    """Jy of dust that is seen from a distance, at rest.

    Parameters
    ----------
    luminosity : array_like
        W/Hz/kg.
    mass : float
        Dust mass in solar masses.
    distance : float
        Mpc.
    """
    watts = np.asarray(luminosity) * mass * SOLAR_MASS
    return watts / (4.0 * np.pi * (distance * _MPC) ** 2) / 1e-26


def list_dust_emulators():
    """Names of the bundled dust emulators."""
    return list(bundled("dust"))


def load_dust_emulator(name="themis"):
    """Load a dust emulator.

    Parameters
    ----------
    name : str or path-like
        The name of a bundled one (`list_dust_emulators`) or the path of a file.

    Returns
    -------
    DustEmulator

    Raises
    ------
    ModelFileError
        If there is no such emulator, or the file is foreign or damaged.
    """
    return DustEmulator.load(find_bundled(name, bundled("dust"), "dust emulator"))
