"""A learnt proposal for posteriors of photometry: from fluxes to a density of parameters.

An autoregressive normalising flow: an embedding of the data, once per galaxy, and for each
parameter in turn a small network of the embedding and of the parameters before it, which gives
a mixture of normal distributions. So a draw costs one pass, and comes with its own density.

It knows nothing of galaxies but their fluxes: what its coordinates mean is for those who
make and use it (`prospect_emu.fit.proposal_coordinates`).
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from ..files import bundled, find_bundled, load_model, save_tensors

KIND = "prospect_emu posterior proposal"
_SCHEMA = 1
_HALF_LN_2PI = np.float32(0.5 * np.log(2.0 * np.pi))
# Of logarithmic widths, as in training.
LOG_WIDTHS = -7.0, 4.0
# Draws that are made together: their arrays stay in the processor's cache.
_BATCH = 1024

# Relative flux of a band at which its feature goes from linear to logarithmic.
_SOFT = 0.01


def brightness(flux, unc, mask):
    """What a galaxy's fluxes are measured in: a mean, weighted by signal to noise.

    Parameters
    ----------
    flux, unc : ndarray, shape (n, nband)
        In maggies.
    mask : ndarray of bool, shape (n, nband)
        The bands that count.

    Returns
    -------
    ndarray, shape (n,)
        NaN where no flux is positive.
    """
    with np.errstate(all="ignore"):
        positive = mask & (flux > 0)
        snr2 = np.where(positive, (flux / unc) ** 2, 0.0)
        weight = snr2 / (1.0 + snr2)
        log = np.log(np.where(positive, flux, 1.0))
        return np.exp((weight * log).sum(axis=1) / weight.sum(axis=1))


def signal_to_noise(flux, unc, mask):
    """Of all positive bands together, (n,): the relative precision of a galaxy's brightness."""
    with np.errstate(all="ignore"):
        snr = np.where(mask & (flux > 0), flux / unc, 0.0)
    return np.sqrt((snr**2).sum(axis=1))


def features(flux, unc, mask, zred):
    """What a network is told of galaxies, shape (n, 3 nband + 3).

    Fluxes and errors in units of `brightness`, both as logarithms where they are large; which
    bands count; ln(1 + zred), and the logarithms of brightness and signal to noise.

    Parameters
    ----------
    flux, unc : ndarray, shape (n, nband)
        In maggies.
    mask : ndarray of bool, shape (n, nband)
    zred : ndarray, shape (n,)
    """
    unit = brightness(flux, unc, mask)
    with np.errstate(all="ignore"):
        relative = np.where(mask, flux, 0.0) / unit[:, None]
        error = np.where(mask, unc, 1.0) / np.where(mask, unit[:, None], 1.0)
        return np.concatenate(
            [
                np.arcsinh(relative / _SOFT),
                np.log(error),
                mask.astype(float),
                np.log1p(zred)[:, None],
                np.log(unit)[:, None],
                np.log(signal_to_noise(flux, unc, mask))[:, None],
            ],
            axis=1,
        )


@dataclass(frozen=True, eq=False)
class Proposal:
    """The flow of a file; see the top of this module.

    Attributes
    ----------
    tensors : dict of ndarray
        Weights as `prospect_emu.training.proposal_training.Flow` names them; ``x_mean``,
        ``x_std``, ``w_mean``, ``w_std`` of features and coordinates; ``code_mean`` (m,) and
        ``code_whiten`` (m, m) of the embeddings of galaxies that it was trained on.
    manifest : dict
        ``name``, ``bands``, ``labels`` of the parameters, ``zred_range``, ``code_limit``, how it
        was trained, and how good it was on held-out galaxies.
    """

    tensors: dict
    manifest: dict

    def __repr__(self):
        m = self.manifest
        return f"Proposal({m['name']!r}, {len(m['bands'])} bands, {self.ndim} parameters)"

    @cached_property
    def ndim(self):
        """Number of parameters."""
        return self.tensors["w_mean"].size

    @cached_property
    def log_unit(self):
        """ln of the volume that one unit of all standardised coordinates has."""
        return float(np.log(self.tensors["w_std"]).sum())

    def embed(self, x):
        """What the network makes of features (n, nfeature): codes (n, m)."""
        t = self.tensors
        h = _silu(((x - t["x_mean"]) / t["x_std"]).astype("f4") @ t["first.weight"].T
                  + t["first.bias"])  # fmt: skip
        block = 0
        while f"blocks.{block}.0.weight" in t:
            inner, outer = f"blocks.{block}.0", f"blocks.{block}.1"
            g = _silu(h @ t[f"{inner}.weight"].T + t[f"{inner}.bias"])
            h = h + g @ t[f"{outer}.weight"].T + t[f"{outer}.bias"]
            block += 1
        return h @ t["last.weight"].T + t["last.bias"]

    def strangeness(self, code):
        """How far codes (n, m) lie from those of training, (n,): 1 is the limit of its file."""
        t = self.tensors
        z = (code - t["code_mean"]) @ t["code_whiten"]
        return np.sqrt((z**2).sum(axis=1)) / self.manifest["code_limit"]

    def of(self, code):
        """The density of one galaxy's parameters, of its code (m,)."""
        t = self.tensors
        first = code @ t["from_context.weight"].T + t["from_context.bias"]
        return Density(self, first.reshape(self.ndim, -1).astype("f4"))

    # ---- files -------------------------------------------------------------

    def save(self, path):
        """Write one safetensors file; weights in half precision."""
        small = {k: v.astype("f2") if v.ndim > 1 else v.astype("f4") for k, v in
                 self.tensors.items()}  # fmt: skip
        save_tensors(path, small, {**self.manifest, "kind": KIND, "schema": _SCHEMA})

    @classmethod
    def load(cls, path):
        """Read what `save` wrote; `ModelFileError` if it is foreign or damaged."""

        def build(tensors, manifest):
            made = cls({k: v.astype("f4") for k, v in tensors.items()}, manifest)
            nfeature = 3 * len(manifest["bands"]) + 3
            fits = made.tensors["first.weight"].shape[1] == nfeature
            made.of(made.embed(np.zeros((1, nfeature)))[0]) if fits else None
            return made, None if fits else "its bands and its network do not fit together"

        return load_model(path, KIND, _SCHEMA, build)


def load_proposal(given):
    """A proposal as it is, by the name of a bundled one, or of a file.

    Raises
    ------
    ModelFileError
        If there is none of that name, or the file is foreign or damaged.
    """
    if isinstance(given, Proposal):
        return given
    path = Path(find_bundled(given, bundled("proposals"), "proposal"))
    return _load(path, path.stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _load(path, changed):
    return Proposal.load(path)


@dataclass(frozen=True, eq=False)
class Density:
    """A flow for one galaxy: draws, and densities.

    Attributes
    ----------
    proposal : Proposal
    first : ndarray, shape (ndim, hidden)
        What the galaxy gives to the first layer of each parameter's network.
    """

    proposal: Proposal
    first: np.ndarray

    def draw(self, rng, n):
        """Coordinates (n, ndim) and their log density (n,)."""
        parts = [self._draw(rng, min(_BATCH, n - at)) for at in range(0, n, _BATCH)]
        w, log_density = (np.concatenate(a) for a in zip(*parts, strict=True))
        return self._physical(w), log_density - self.proposal.log_unit

    def log_density(self, w):
        """Of coordinates (n, ndim), (n,)."""
        t = self.proposal.tensors
        z = ((w - t["w_mean"]) / t["w_std"]).astype("f4")
        out = np.empty(len(w))
        for at in range(0, len(w), _BATCH):
            part = z[at : at + _BATCH]
            total = np.zeros(len(part), dtype="f4")
            for d in range(part.shape[1]):
                total += _log_mixture(part[:, d], *self._mixture(part, d))
            out[at : at + _BATCH] = total
        return out - self.proposal.log_unit

    def _draw(self, rng, n):
        ndim = self.proposal.ndim
        z = np.empty((n, ndim), dtype="f4")
        total = np.zeros(n, dtype="f4")
        uniform = rng.random((ndim, n), dtype="f4")
        normal = rng.standard_normal((ndim, n), dtype="f4")
        rows = np.arange(n)
        for d in range(ndim):
            share, mean, width = mixture = self._mixture(z, d)
            which = (np.cumsum(share, axis=1) < uniform[d][:, None]).sum(axis=1)
            which = np.minimum(which, share.shape[1] - 1)
            z[:, d] = mean[rows, which] + width[rows, which] * normal[d]
            total += _log_mixture(z[:, d], *mixture)
        return z, total

    def _mixture(self, z, d):
        """Shares, means and widths, each (n, k), of parameter `d` after those before it."""
        t = self.proposal.tensors
        h = z[:, :d] @ t["from_before"][d, :d] if d else np.zeros((len(z), 1), dtype="f4")
        h = np.maximum(h + self.first[d], 0.0)
        h = h @ t["middle"][d]
        h += t["middle_bias"][d]
        np.maximum(h, 0.0, out=h)
        logit, mean, log_width = np.split(h @ t["out"][d] + t["out_bias"][d], 3, axis=1)
        share = np.exp(logit - logit.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        return share, mean, np.exp(np.clip(log_width, *LOG_WIDTHS))

    def _physical(self, z):
        t = self.proposal.tensors
        return z.astype(float) * t["w_std"] + t["w_mean"]


def _silu(x):
    return x / (1.0 + np.exp(-x))


def _log_mixture(x, share, mean, width):
    z = (x[:, None] - mean) / width
    with np.errstate(divide="ignore"):
        terms = np.log(share / width) - np.float32(0.5) * z * z
    top = terms.max(axis=1)
    return top + np.log(np.exp(terms - top[:, None]).sum(axis=1)) - _HALF_LN_2PI
