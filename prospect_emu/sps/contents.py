"""What spectra are made of: FSPS's tables as arrays, and the shapes they must have."""

from dataclasses import dataclass, field

import numpy as np

from ..errors import ModelFileError
from ..files import fingerprint

# FSPS's short names of isochrones and spectral libraries.
NAMES = {
    "mist": "MIST", "prsc": "PARSEC", "pdva": "Padova", "bsti": "BaSTI", "gnva": "Geneva",
    "bpss": "BPASS", "miles": "MILES", "c3k_lr": "C3K (low resolution)", "c3k_hr": "C3K",
    "bpass": "BPASS",
}  # fmt: skip


@dataclass(frozen=True, eq=False, repr=False)
class Ingredients:
    """What spectra are made of.

    Luminosities per frequency are in units of 1e-15 Lsun/Hz (`LNU_UNIT`), ionising
    photons in units of 1e46 per second (`PHOTON_UNIT`).

    Attributes
    ----------
    wave, resolution : ndarray, shape (nwave,)
        Angstrom, vacuum, increasing; dispersion of the library in km/s.
    log_age, logz : ndarray, shape (nage,), (nz,)
        Of the stellar populations: log10(years), log10(Z / Zsun).
    stars_lnu : ndarray, shape (nz, nage, nwave)
        Per Msun formed, single precision, ionising light included.
    stars_mass, stars_loglbol : ndarray, shape (nz, nage)
        Surviving mass and log10 of Lsun, per Msun formed.
    photons : ndarray, shape (nz, nneb)
        Ionising photons per Msun formed of the populations that have nebulae.
    neb_logz, neb_log_age, neb_logu : ndarray
        Axes of the nebular tables.
    neb_logcont : ndarray, shape (nlogz, nlogage, nlogu, nwave)
        log10 of the continuum per unit of photons, single precision.
    neb_logline : ndarray, shape (nlogz, nlogage, nlogu, nline)
        log10 of line luminosities, in 1e-15 Lsun, per unit of photons.
    line_wave : ndarray, shape (nline,)
        Angstrom, vacuum.
    dust_qpah, dust_umin : ndarray
        Axes of the dust emission.
    dust_lnu : ndarray, shape (nqpah, numin, 2, nspan)
        Its shape on the last nspan wavelengths (any unit): at Umin, and up to Umax.
    agn_tau, agn_lnu : ndarray, shape (ntau,), (ntau, nwave)
        Torus templates, per Lsun of the AGN.
    line_names : tuple of str
        FSPS's; may be empty.
    manifest : dict
        ``label``, ``libraries`` (isochrones, spectra, dust), ``parameters`` (see
        `prospect_emu.parameters.INGREDIENTS`), ``zsol``, ``versions``.
    """

    wave: np.ndarray
    resolution: np.ndarray
    log_age: np.ndarray
    logz: np.ndarray
    stars_lnu: np.ndarray
    stars_mass: np.ndarray
    stars_loglbol: np.ndarray
    photons: np.ndarray
    neb_logz: np.ndarray
    neb_log_age: np.ndarray
    neb_logu: np.ndarray
    neb_logcont: np.ndarray
    neb_logline: np.ndarray
    line_wave: np.ndarray
    dust_qpah: np.ndarray
    dust_umin: np.ndarray
    dust_lnu: np.ndarray
    agn_tau: np.ndarray
    agn_lnu: np.ndarray
    line_names: tuple = ()
    manifest: dict = field(default_factory=dict)

    def __post_init__(self):
        n = {a: getattr(self, a).size for a in _AXES}
        for name, axes in _SHAPES.items():
            shape, expected = getattr(self, name).shape, tuple(n.get(a, a) for a in axes)
            fits = len(shape) == len(expected) and all(
                e is None or e == s for s, e in zip(shape, expected, strict=True)
            )
            if not fits:
                raise ModelFileError(
                    f"ingredients {self.label!r}: {name} has shape {shape}, not {expected}; make "
                    "the file again."
                )

    def __repr__(self):
        nz, nage, nwave = self.stars_lnu.shape
        return (
            f"Ingredients({self.label!r}, imf_type={self.parameters.get('imf_type')}, "
            f"{nz} metallicities, {nage} ages, {nwave} wavelengths)"
        )

    @property
    def label(self):
        """What to call isochrones and spectral library, such as "PARSEC/CK04"."""
        return self.manifest.get("label") or "/".join(NAMES.get(k, k) for k in self.libraries[:2])

    @property
    def fingerprint(self):
        """SHA-256 of libraries, versions and stellar parameters: what made these."""
        made = {k: self.manifest.get(k) for k in ("libraries", "versions", "parameters")}
        return fingerprint(made)

    @property
    def libraries(self):
        """Isochrones, spectral library and dust emission, as FSPS calls them."""
        return tuple(self.manifest.get("libraries", ()))

    @property
    def parameters(self):
        """Values of the parameters that were decided when the stars were computed."""
        return self.manifest.get("parameters", {})

    @property
    def nneb(self):
        """How many (the youngest) of the populations have nebulae."""
        return self.photons.shape[1]

    @property
    def dust_start(self):
        """Index of the first wavelength of `dust_lnu`."""
        return self.wave.size - self.dust_lnu.shape[-1]


_AXES = (
    "wave", "log_age", "logz", "neb_logz", "neb_log_age", "neb_logu", "line_wave", "dust_qpah",
    "dust_umin", "agn_tau",
)  # fmt: skip
_SHAPES = {
    "resolution": ("wave",),
    "stars_lnu": ("logz", "log_age", "wave"),
    "stars_mass": ("logz", "log_age"),
    "stars_loglbol": ("logz", "log_age"),
    "photons": ("logz", None),
    "neb_logcont": ("neb_logz", "neb_log_age", "neb_logu", "wave"),
    "neb_logline": ("neb_logz", "neb_log_age", "neb_logu", "line_wave"),
    "dust_lnu": ("dust_qpah", "dust_umin", 2, None),
    "agn_lnu": ("agn_tau", "wave"),
}
