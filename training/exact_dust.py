"""Dust, intergalactic gas and AGN for `ExactSPS`: vectors on the wavelength grid.

Formulas are FSPS's for dust_type 4 (Kriek & Conroy 2013 around Calzetti et al.
2000), Draine & Li (2007)-type emission, the Nenkova et al. (2008) torus and
Madau (1995). FSPS writes its constants in single precision; `single` keeps them.
"""

import numpy as np
import torch


def single(value):
    """A literal as FSPS holds it: rounded to single precision."""
    return float(np.float32(value))


CLIGHT = single(2.9979e18)  # Angstrom/s
_REFERENCE = 5500.0

_LYMAN = np.array([
    1215.67, 1025.72, 972.537, 949.743, 937.803, 930.748, 926.226, 923.150, 920.963, 919.352,
    918.129, 917.181, 916.429, 915.824, 915.329, 914.919, 914.576,
])  # fmt: skip
_BLANKETING = np.array([
    0.0036, 0.0017, 0.0011846, 0.0009410, 0.0007960, 0.0006967, 0.0006236, 0.0005665, 0.0005200,
    0.0004817, 0.0004487, 0.0004200, 0.0003947, 0.000372, 0.000352, 0.0003334, 0.00031644,
])  # fmt: skip
_METALS = 0.0017
_LYMAN_LIMIT = 911.75


def frequency_weights(wave):
    """Trapezoid weights over frequency (Hz), shape (nwave,), for samples at `wave`."""
    half = 0.5 * np.abs(np.diff(CLIGHT / wave))
    return np.pad(half, (0, 1)) + np.pad(half, (1, 0))


def calzetti(wave):
    """The Calzetti curve in FSPS's normalisation, shape (nwave,), never negative."""
    x = 1e4 / wave
    blue = single(-2.156) + single(1.509) * x - single(0.198) * x**2 + single(0.011) * x**3
    red = single(-1.857) + single(1.04) * x
    curve = single(1.17) * np.where(wave <= 6300.0, blue, red) + single(1.78)
    return np.maximum(curve / single(0.44) / single(4.05), 0.0)


def bump(wave):
    """The 2175 A bump of unit strength over R = 4.05, shape (nwave,)."""
    width = (wave * 350.0) ** 2
    return width / ((wave**2 - 2175.0**2) ** 2 + width) / single(4.05)


def igm_terms(wave):
    """Madau's optical depth as a sum of powers of 1 + z.

    Returns
    -------
    exponent : ndarray, shape (nterm,)
    vector : ndarray, shape (nterm, n)
        ``tau = (1 + z)**exponent @ vector`` on the n wavelengths up to Ly-alpha.
    """
    line = np.float32(_LYMAN).astype(float)
    wave = wave[: np.searchsorted(wave, line[0], side="right")]
    below = wave <= line[:, None]
    strength = np.float32(_BLANKETING).astype(float)[:, None]
    e = {name: single(float(name)) for name in ("3.46", "1.68", "0.46", "0.18", "1.32")}
    y = wave / _LYMAN_LIMIT
    ionising = y <= 1.0
    terms = [
        (e["3.46"], (below * (wave / line[:, None]) ** e["3.46"] * strength).sum(axis=0)),
        (e["1.68"], single(_METALS) * (wave / line[0]) ** e["1.68"]),
        (3.0 + e["0.46"], ionising * 0.25 * y**3 * (1.0 - y ** e["0.46"])),
        (1.5 + e["0.18"], ionising * single(9.4) * y**1.5 * (1.0 - y ** e["0.18"])),
        (3.0 - e["1.32"], ionising * single(0.7) * y**3 * (1.0 - y ** -e["1.32"])),
        (e["1.68"], ionising * single(0.023) * (y ** e["1.68"] - 1.0)),
    ]
    exponent, vector = zip(*terms, strict=True)
    return np.array(exponent), np.array(vector)


class Attenuation:
    """Birth clouds in front of the young stars, diffuse dust in front of all.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
    dtype, device
    """

    def __init__(self, wave, dtype, device):
        vectors = (-calzetti(wave), -bump(wave), np.log(wave / _REFERENCE), -_REFERENCE / wave)
        self._vectors = [torch.tensor(v, dtype=dtype, device=device) for v in vectors]

    def __call__(self, fraction, dust2, index, young, old, dnu):
        """Attenuate the light of young and old stars.

        Parameters
        ----------
        fraction, dust2, index : Tensor, shape (n, 1)
            Depth of the clouds over that of the diffuse dust; the latter; its slope.
        young, old : Tensor, shape (n, nbin, nwave)
        dnu : Tensor, shape (nwave,)
            Integration weights over frequency.

        Returns
        -------
        Tensor (n, nbin, nwave), (n, nbin), (n, nwave)
            Light, absorbed luminosity, and what the diffuse dust transmits.
        """
        return _attenuate(*self._vectors, fraction, dust2, index, young, old, dnu)


def _attenuate(curve, bump, log_wave, cloud, fraction, dust2, index, young, old, dnu):
    curve = torch.addcmul(curve, single(0.85) - single(1.9) * index, bump)
    diffuse = curve * torch.exp(index * log_wave) * dust2
    cloud = ((fraction * dust2) * cloud)[:, None]
    through = torch.exp(diffuse)
    behind = torch.addcmul(old, young, torch.exp(cloud))
    # Summed from 1 - exp(-tau) directly: as a difference of two totals, the
    # absorbed light would drown in rounding where there is little dust.
    lost = torch.addcmul(young * torch.expm1(cloud), behind, torch.expm1(diffuse)[:, None])
    return behind * through[:, None], -(lost @ dnu), through


class Templates:
    """Spectra on a small grid, interpolated linearly between neighbours.

    Parameters
    ----------
    axes : sequence of ndarray
        Increasing nodes of each axis. Outside them the last node holds.
    table : ndarray, shape (len(axis), ..., nwave)
    dtype, device
    """

    def __init__(self, axes, table, dtype, device):
        self.axes = [torch.tensor(a, dtype=torch.float64, device=device) for a in axes]
        nonzero = np.flatnonzero(np.abs(table).reshape(-1, table.shape[-1]).max(axis=0))
        self.span = slice(int(nonzero[0]), int(nonzero[-1]) + 1)
        flat = table[..., self.span].reshape(-1, nonzero[-1] + 1 - nonzero[0])
        self.table = torch.tensor(flat, dtype=dtype, device=device)

    def __call__(self, *coordinates):
        """Spectra on ``wave[span]``, shape (n, nspan), at coordinates (n,) each."""
        index = torch.zeros_like(coordinates[0], dtype=torch.long)[:, None]
        weight = torch.ones_like(coordinates[0])[:, None]
        for axis, x in zip(self.axes, coordinates, strict=True):
            cell, frac = find_cell(axis, x)
            frac = frac.clamp(0.0, 1.0)
            index = (index * axis.numel() + cell[:, None])[..., None]
            index = torch.cat([index, index + 1], dim=-1).flatten(1)
            both = torch.stack([1.0 - frac, frac], dim=-1)
            weight = (weight[..., None] * both[:, None, :]).flatten(1)
        return torch.nn.functional.embedding_bag(
            index, self.table, mode="sum", per_sample_weights=weight.to(self.table.dtype)
        )


def find_cell(axis, x):
    """Cell of an increasing axis and the position in it, 0 at its start and 1 at its end.

    Outside the axis the end cells are continued.
    """
    cell = torch.searchsorted(axis, x.detach().contiguous(), right=True) - 1
    cell = cell.clamp(0, axis.numel() - 2)
    return cell, (x - axis[cell]) / (axis[cell + 1] - axis[cell])


class Intergalactic:
    """Transmission of the intergalactic gas between a galaxy and the observer.

    Parameters
    ----------
    wave : ndarray, shape (nwave,)
    dtype, device
    """

    def __init__(self, wave, dtype, device):
        exponent, vector = igm_terms(wave)
        self.span = slice(0, vector.shape[1])
        self._exponent = torch.tensor(exponent, device=device)
        self._vector = torch.tensor(vector, device=device)
        self._index = torch.arange(vector.shape[1], device=device)
        self.dtype = dtype

    def __call__(self, zred):
        """Transmission on ``wave[span]``, shape (n, nspan), for redshifts (n,)."""
        tau = (1.0 + zred[:, None]) ** self._exponent @ self._vector
        # The fit for ionising light turns down at short wavelengths; FSPS
        # holds the largest value from there on.
        top, where = tau.max(dim=1, keepdim=True)
        return torch.exp(-torch.where(self._index < where, top, tau)).to(self.dtype)
