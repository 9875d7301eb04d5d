"""Networks of spectra, as Speculator (Alsing et al. 2020) trains them, in a file of ours.

A network gives principal components of log spectra. Its parameters are its trainer's, so that it
is no emulator of a model here; a basis derived from `EmulatorSPS` may take its spectra.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.special import expit

from ..errors import ModelFileError, RangeError
from ..files import load_model, save_tensors

_SCALES = ("in_shift", "in_scale", "pca_shift", "pca_scale", "out_shift", "out_scale", "basis")
# What Speculator pickles, in this order; then come counts that follow from these.
_LAYERS = ("weight", "bias", "alpha", "beta")


@dataclass(frozen=True, eq=False)
class SpectrumNetwork:
    """A network of log spectra.

    Attributes
    ----------
    wavelengths : ndarray, shape (nwave,), or None
        As its trainer gave them.
    tensors : dict of ndarray
        ``weight_0``, ``bias_0``, ``alpha_0``, ``beta_0``, ...: layers, applied from the right;
        shifts and scales of inputs, components and spectra; ``basis`` (ncomponent, nwave).
    """

    wavelengths: np.ndarray | None
    tensors: dict

    KIND, SCHEMA = "prospect_emu spectrum network", 1

    @property
    def nlayer(self):
        return sum(k.startswith("weight_") for k in self.tensors)

    @property
    def nparam(self):
        return self.tensors["weight_0"].shape[0]

    def log_spectrum(self, theta):
        """Log spectra (n, nwave), in the trainer's units, of parameters (n, nparam).

        Raises
        ------
        RangeError
            If there are as many parameters as the network does not have.
        """
        t, theta = self.tensors, np.asarray(theta, dtype=float)
        if theta.ndim != 2 or theta.shape[1] != self.nparam:
            raise RangeError(
                f"The network has {self.nparam} parameters; got an array of shape {theta.shape}, "
                f"where (n, {self.nparam}) is needed."
            )
        h = (theta - t["in_shift"]) / t["in_scale"]
        for i in range(self.nlayer - 1):
            x = h @ t[f"weight_{i}"] + t[f"bias_{i}"]
            beta = t[f"beta_{i}"]
            h = (beta + (1.0 - beta) * expit(t[f"alpha_{i}"] * x)) * x
        last = self.nlayer - 1
        h = (h @ t[f"weight_{last}"] + t[f"bias_{last}"]) * t["pca_scale"] + t["pca_shift"]
        return (h @ t["basis"]) * t["out_scale"] + t["out_shift"]

    def save(self, path: str | Path) -> None:
        """Write one safetensors file (atomic)."""
        more = {} if self.wavelengths is None else {"wavelengths": self.wavelengths}
        save_tensors(path, self.tensors | more, {"kind": self.KIND, "schema": self.SCHEMA})

    @classmethod
    def load(cls, path: str | Path) -> "SpectrumNetwork":
        """Read what `save` wrote; `ModelFileError` if it is foreign or damaged."""

        def build(tensors, manifest):
            tensors = dict(tensors)
            network = cls(tensors.pop("wavelengths", None), tensors)
            return network, network.inconsistency()

        return load_model(path, cls.KIND, cls.SCHEMA, build)

    def inconsistency(self):
        """What does not fit together, or None."""
        try:
            spectra = self.log_spectrum(np.zeros((1, self.nparam)))
        except (KeyError, ValueError) as err:
            return f"its layers do not fit together ({err})"
        if self.wavelengths is not None and self.wavelengths.shape != spectra.shape[1:]:
            return f"it has {self.wavelengths.size} wavelengths for {spectra.size} values"
        return None if np.isfinite(spectra).all() else "it is not finite"


def from_speculator(path, data):
    """The network of what a pickle of Speculator holds.

    Raises
    ------
    ModelFileError
        If it is in another layout.
    """
    try:
        tensors = {
            f"{name}_{i}": np.asarray(array, dtype=float)
            for name, arrays in zip(_LAYERS, data[:4], strict=True)
            for i, array in enumerate(arrays)
        }
        tensors |= {
            name: np.asarray(array, dtype=float)
            for name, array in zip(_SCALES, data[4:11], strict=True)
        }
        wave = None if data[13] is None else np.asarray(data[13], dtype=float)
        network = SpectrumNetwork(wave, tensors)
        problem = network.inconsistency()
    except (IndexError, TypeError, ValueError, KeyError) as err:
        problem = f"{type(err).__name__}: {err}"
    if problem:
        raise ModelFileError(f"{path} is no network of Speculator ({problem}).")
    return network
