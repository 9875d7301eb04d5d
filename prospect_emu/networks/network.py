"""Feed-forward networks in NumPy: at these sizes faster than torch on one core."""

from dataclasses import dataclass

import numpy as np

from ..errors import ModelFileError

_GELU_C = np.float32(np.sqrt(2.0 / np.pi))
_GELU_A = np.float32(0.044715)


def gelu_tanh(x):
    """Tanh form of the Gaussian error linear unit, in place on `x`.

    ``x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3))) / 2`` (Hendrycks & Gimpel 2016).
    """
    t = x * x
    t *= _GELU_A
    t += np.float32(1.0)
    t *= x
    t *= _GELU_C
    np.tanh(t, out=t)
    t += np.float32(1.0)
    t *= np.float32(0.5)
    x *= t
    return x


@dataclass(frozen=True)
class MLP:
    """Normalise, hidden layers with tanh-GELU, linear output, de-normalise.

    Attributes
    ----------
    weights : tuple of ndarray, shape (n_in, n_out) each
        Applied from the right: ``x @ w + b``.
    biases : tuple of ndarray, shape (n_out,) each
    in_mean, in_std : ndarray, shape (n_in,)
    out_mean, out_std : ndarray, shape (n_out,)
    """

    weights: tuple
    biases: tuple
    in_mean: np.ndarray
    in_std: np.ndarray
    out_mean: np.ndarray
    out_std: np.ndarray

    def __call__(self, x):
        """Outputs (n, n_out) in float64 of inputs (n, n_in).

        Layers run in the weights' type (float32); the output is scaled and shifted
        in float64. A matrix product sums in another order in another batch and on
        another processor, so that outputs differ by 1e-6 of their spread (rms), by
        1e-5 in corners of the training box. That is far below the error of any
        trained network.
        """
        h = ((x - self.in_mean) / self.in_std).astype(self.weights[0].dtype)
        for w, b in zip(self.weights[:-1], self.biases[:-1], strict=True):
            h = h @ w
            h += b
            gelu_tanh(h)
        y = h @ self.weights[-1]
        y += self.biases[-1]
        return y.astype(np.float64) * self.out_std + self.out_mean

    def select(self, columns):
        """The same network with a subset of its outputs: the last layer is cut."""
        return MLP(
            (*self.weights[:-1], np.ascontiguousarray(self.weights[-1][:, columns])),
            (*self.biases[:-1], self.biases[-1][columns]),
            self.in_mean,
            self.in_std,
            self.out_mean[columns],
            self.out_std[columns],
        )

    @property
    def widths(self):
        """Sizes of input, hidden layers and output."""
        return (self.weights[0].shape[0], *(w.shape[1] for w in self.weights))

    def tensors(self, prefix):
        """Arrays by name, for a file."""
        out = {f"{prefix}/weight_{i}": w for i, w in enumerate(self.weights)}
        out |= {f"{prefix}/bias_{i}": b for i, b in enumerate(self.biases)}
        for name in ("in_mean", "in_std", "out_mean", "out_std"):
            out[f"{prefix}/{name}"] = getattr(self, name)
        return out

    @classmethod
    def from_tensors(cls, tensors, prefix, where="the file"):
        """Inverse of `tensors`; `ModelFileError` if the shapes do not fit together."""
        try:
            n = sum(k.startswith(f"{prefix}/weight_") for k in tensors)
            net = cls(
                tuple(tensors[f"{prefix}/weight_{i}"] for i in range(n)),
                tuple(tensors[f"{prefix}/bias_{i}"] for i in range(n)),
                *(tensors[f"{prefix}/{k}"] for k in ("in_mean", "in_std", "out_mean", "out_std")),
            )
            widths = net.widths
            good = (
                all(w.shape[0] == size for w, size in zip(net.weights, widths, strict=False))
                and all(b.shape == (w.shape[1],) for w, b in zip(net.weights, net.biases))  # noqa: B905
                and net.in_mean.shape == net.in_std.shape == (widths[0],)
                and net.out_mean.shape == net.out_std.shape == (widths[-1],)
            )
        except (KeyError, IndexError) as err:
            raise ModelFileError(
                f"{where} lacks a part of its network {prefix!r} ({err})."
            ) from err
        if not good:
            raise ModelFileError(f"{where}: the layers of network {prefix!r} do not fit together.")
        return net
