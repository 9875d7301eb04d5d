"""What makes a fit this fit: its key, its seed, and the fingerprint that tells a stale result.

A fingerprint is a flat dictionary, so that a difference can be named: fit
settings, the galaxy's photometry, the emulator and the versions of the packages
that decide a result.
"""

import hashlib
import re
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote

import numpy as np

from ..files import fingerprint as hash_of
from ..fit.description import package_versions
from ..networks.proposal import load_proposal

# A result changes with these; with Python, h5py or scipy it does not, to rounding.
_PACKAGES = ("prospect_emu", "astro-prospector", "astro-sedpy", "dynesty", "numpy")
# Settings whose change need not change a result, see `remaining`.
BUDGETS = ("settings.max_calls", "settings.max_seconds")
CERTIFICATE = "settings.certificate"
_MODEL = ("model", "params", "params_options")
_SAMPLER = ("sampler", "proposal")
# What changes no posterior.
_STORAGE = ("tables", "draws", "restframe")
_LONGEST = 180  # characters; file systems take 255, and temporary names are longer


@dataclass(frozen=True, order=True)
class Key:
    """Which fit: an emulator's label, a galaxy's id and the number of the repeat."""

    emulator: str
    galaxy: str
    repeat: int

    @property
    def name(self):
        """For files and messages, such as ``mathews23-256/1746_r0``."""
        return f"{file_name(self.emulator)}/{file_name(self.galaxy)}_r{self.repeat}"


def file_name(text):
    """A name that any text can give a file: no two texts have the same one."""
    # Hidden files are what interrupted writes leave.
    name = re.sub(r"^\.", "%2E", quote(text, safe="+"))
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - 17]}~{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def seed_of(campaign_seed, galaxy, repeat):
    """The seed of a fit.

    From the galaxy's id and the repeat alone: order, restarts, executors and
    emulators do not matter.
    """
    text = f"{campaign_seed}|{galaxy}|{repeat}".encode()
    return int.from_bytes(hashlib.sha256(text).digest()[:6], "big")


def versions():
    """Versions that a result depends on."""
    known = package_versions()
    return {name: known[name] for name in _PACKAGES}


def photometry_of(obs):
    """An `obs` as plain data that can be sent anywhere, without its filters' curves."""
    out = {
        "bands": [f.name for f in obs["filters"]],
        "maggies": np.array(obs["maggies"], dtype=float),
        "maggies_unc": np.array(obs["maggies_unc"], dtype=float),
        "phot_mask": np.array(obs["phot_mask"], dtype=bool),
        "zred": None if obs["zred"] is None else float(obs["zred"]),
        "notes": list(obs.get("notes", [])),
        "truth": dict(obs.get("truth") or {}),
    }
    if "zred_prior" in obs:
        out["zred_prior"] = obs["zred_prior"]
    for name in ("magnification", "spectrum_file"):
        if name in obs:
            out[name] = obs[name]
    if "maggies_unc_catalog" in obs:
        out["maggies_unc_catalog"] = np.array(obs["maggies_unc_catalog"], dtype=float)
    if "upper_limits" in obs:
        out["upper_limits"] = np.array(obs["upper_limits"], dtype=bool)
    return out


def fingerprint_of(key, seed, fit, photometry, emulator, used_versions):
    """The flat dictionary that a result is compared by.

    Parameters
    ----------
    key : Key
    seed : int
    fit : FitConfig
    photometry : dict
        From `photometry_of`.
    emulator : dict
        `Backend.identity`.
    used_versions : dict

    Returns
    -------
    dict of str -> str, int, float, bool or None
    """
    mask = photometry["phot_mask"]
    out = {"fit.galaxy": key.galaxy, "fit.repeat": key.repeat, "fit.seed": seed}
    out |= settings_fields(fit)
    out |= {
        "data.zred": photometry["zred"],
        "data.bands": _hash(np.array(photometry["bands"])[mask]),
        "data.fluxes": _hash(photometry["maggies"][mask]),
        "data.errors": _hash(photometry["maggies_unc"][mask]),
    }
    if "zred_prior" in photometry:
        out["data.zred_prior"] = hash_of(photometry["zred_prior"])
    if "magnification" in photometry:
        out["data.magnification"] = hash_of(photometry["magnification"])
    if "spectrum_file" in photometry:
        # Wherever the file lies.
        out["data.spectrum"] = hash_of(photometry["spectrum_file"] | {"spectrum": ""})
    if "upper_limits" in photometry:
        out["data.upper_limits"] = _hash(photometry["upper_limits"][mask])
    out |= emulator_fields(emulator)
    return out | {f"versions.{k}": v for k, v in used_versions.items()}


def settings_fields(fit):
    """The part of a fingerprint that a `FitConfig` decides."""
    out = {k: v for k, v in asdict(fit).items() if k not in (*_MODEL, *_SAMPLER, *_STORAGE)}
    if fit.sampler != "nested":
        out |= {"sampler": fit.sampler, "proposal": load_proposal(fit.proposal).manifest["sha256"]}
    if fit.restframe:
        out["restframe"] = " ".join(fit.restframe)
    if fit.other_model:
        out |= {"model": "+".join(fit.model), "params_options": " ".join(fit.params_options)}
        file = Path(fit.params).read_bytes() if fit.params else b""
        out["params"] = hashlib.sha256(file).hexdigest()
    return {f"settings.{k}": v for k, v in out.items()}


def emulator_fields(emulator):
    """The part of a fingerprint that `Backend.identity` decides."""
    return {
        f"emulator.{name}": value if isinstance(value, (str, type(None))) else hash_of(value)
        for name, value in emulator.items()
    }


def changed_fields(old, new, accept=()):
    """Names of the fields in which two fingerprints differ.

    `accept` holds fields, or beginnings of fields such as "versions", whose
    differences do not count.
    """
    names = sorted(set(old) | set(new))
    accept = tuple(accept)

    def accepted(name):
        return any(name == a or name.startswith(f"{a}.") for a in accept)

    return [n for n in names if old.get(n) != new.get(n) and not accepted(n)]


def remaining(old, new, converged, accept=()):
    """What is to be done about a result with fingerprint `old` where `new` is asked for.

    A budget that a converged fit did not use up changed nothing, and a certificate can be added to
    a fit: neither takes another fit.

    Returns
    -------
    fields : tuple of str
        In which they differ for good.
    again : bool
        Whether a worker has to take it up nevertheless: a stalled fit whose budget was raised, or
        one without the certificate that is asked for.
    """
    fields = changed_fields(old, new, accept)
    raised = [f for f in fields if f in BUDGETS and (new[f] or np.inf) > (old[f] or np.inf)]
    fields = [f for f in fields if f not in BUDGETS]
    add = fields == [CERTIFICATE] and not old[CERTIFICATE]
    return tuple(() if add else fields), add or (bool(raised) and not converged)


def _hash(array):
    return hashlib.sha256(np.ascontiguousarray(array).astype(_plain(array)).tobytes()).hexdigest()


def _plain(array):
    # Text arrays take the length of their longest entry, which is no difference.
    return "S64" if array.dtype.kind == "U" else array.dtype
