"""Photometry, spectra and line fluxes of Prospector 2's Observations, for whole batches.

All follow linearly from a galaxy's light and its lines where redshift and smoothing are fixed;
a polynomial calibrates each spectrum. What that does not cover is left to Prospector.
"""

import numpy as np

from ..errors import ModelMismatchError, NotCompiledError
from ..observe import observation
from ..prospector.stand_in import ExactBasis
from ..prospector.version import adapter
from .calibration import Polynomial
from .likelihood import IMPOSSIBLE, brightness, compile_likelihood, set_likelihood
from .predictions import ExactFluxes, prior_examples

# Of what the model itself predicts; anything that a subclass adds is far larger.
_TOLERANCE = 1e-3
# Rows whose pixels stay in cache.
_CHUNK = 128


class ObservationFluxes(ExactFluxes):
    """What a model predicts for each Observation, compiled.

    Parameters
    ----------
    model : prospect.models.SpecModel
    data : Observed
    sps : EmulatorSPS
    bands : ndarray of bool, shape (nfilter,)

    Raises
    ------
    ModelMismatchError
        If the model's predictions are not compiled; what it is, is named.
    """

    def __init__(self, model, data, sps, bands):
        self._model, self._data, self._sps, self._bands = model, data, sps, bands
        before = model.theta.copy()
        try:
            super().__init__(model, self._see, sps)
            self._check()
        finally:
            model.set_parameters(before)

    def _see(self, wave, varies):
        """What is wanted of the light, and how data follow from it."""
        predicted = adapter.operators(self._model, self._data, self._sps, varies)
        some = [p for p in predicted if p is not None]
        nodes = np.unique(np.concatenate([p.node for p in some]))
        lines = np.unique(np.concatenate([p.line for p in some]))
        self._predicted, first = [], 0
        for p, o in zip(predicted, self._data.native, strict=True):
            if p is None:
                n = int(self._bands[first : first + o.ndata].sum())
                self._predicted.append(n)
                first += o.ndata
                continue
            matrix = np.zeros((nodes.size + lines.size, len(p.matrix)))
            matrix[np.searchsorted(nodes, p.node)] = p.matrix.T
            matrix[nodes.size + np.searchsorted(lines, p.line)] = p.profiles.T
            if p.response is not None:
                matrix *= p.response
            self._predicted.append((matrix, _polynomial(o, p.polynomial)))
        return adapter.bands(self._model, self._data, self._bands)(wave, varies, nodes, lines)

    def light(self, theta):
        """Bands, samples of the spectrum and lines side by side; NaN where impossible."""
        return super().maggies(theta)

    def all(self, theta):
        """`of_light` of what `light` gives."""
        return self.of_light(self.light(theta))

    def of_light(self, values):
        """Predictions (n, ndata) for each Observation; of photometry the chosen bands."""
        first, stop = 0, self.nband
        light, out = values[:, stop:], []
        for p in self._predicted:
            if isinstance(p, int):
                out.append(values[:, first : first + p])
                first += p
                continue
            matrix, polynomial = p
            seen = light @ matrix
            if polynomial is not None:
                seen *= polynomial(seen)
            out.append(seen)
        return out

    @property
    def linear(self):
        """The matrix (nsample and lines, ndata) of each Observation, if data are linear in them."""
        return [None if isinstance(p, int) or p[1] is not None else p[0] for p in self._predicted]

    @property
    def nband(self):
        """How many bands there are."""
        return int(self._bands.sum())

    def maggies(self, theta):
        """Fluxes (n, nband)."""
        return self.light(theta)[:, : self.nband]

    def spectrum(self, theta):
        """The first spectrum (n, npix) in maggies, with calibration."""
        kinds = [o.kind for o in self._data.native]
        if "spectrum" not in kinds:
            raise ModelMismatchError("The data hold no spectrum.")
        return self.all(theta)[kinds.index("spectrum")]

    def _check(self):
        """Compare with the model itself."""
        draws, model = prior_examples(self._model), self._model
        got = self.all(draws)
        for i, row in enumerate(draws):
            try:
                values, _ = model.predict(row, observations=self._data.native, sps=self._sps)
            except ValueError:
                continue
            first = 0
            for mine, value, o in zip(got, values, self._data.native, strict=True):
                if o.kind == "photometry":
                    value = value[self._bands[first : first + o.ndata]]
                    first += o.ndata
                floor = _TOLERANCE * np.median(np.abs(value))
                if not np.allclose(mine[i], value, rtol=_TOLERANCE, atol=floor):
                    raise ModelMismatchError(
                        f"{type(model).__name__}.predict gives another {o.kind} than FSPS's "
                        "parameters alone"
                    )


def _polynomial(o, given):
    if given is None:
        return None
    order, penalty = given
    penalty = np.broadcast_to(np.asarray(penalty, dtype=float) ** 2, (order + 1,))
    obs = {"wavelength": o.wavelength, "spectrum": o.flux, "unc": o.uncertainty, "mask": o.mask}
    return Polynomial(obs, order, penalty)


class ObservationLikelihood:
    """Log likelihood (n,) of vectors (n, ndim): all Observations."""

    def __init__(self, fluxes, photometry, parts):
        self._fluxes, self._photometry, self._parts = fluxes, photometry, parts

    def light(self, theta):
        """See `ObservationFluxes.light`."""
        return self._fluxes.light(theta)

    def brightness(self):
        """As `prospect_emu.fit.likelihood.brightness`, for `light`."""
        stop = self._fluxes.nband
        weight, norm = np.zeros(len(self._fluxes.compiled.filters)), 0.0
        if self._photometry is not None:
            weight[:stop], norm = brightness(self._photometry)
        for part, matrix in zip(self._parts, self._fluxes.linear, strict=True):
            if part is not None and matrix is not None:
                mask, likelihood = part
                of_data, more = brightness(likelihood)
                weight[stop:] += matrix[:, mask] @ of_data
                norm += more
        return weight, norm

    def of_light(self, light, theta):
        """Log likelihood (n,) of what `light` gives."""
        parts = [slice(i, i + _CHUNK) for i in range(0, len(theta), _CHUNK)]
        return np.concatenate([self._rows(light[at], theta[at]) for at in parts])

    def _rows(self, light, theta):
        values = self._fluxes.of_light(light)
        impossible = np.any([np.isnan(v[:, :1]).any(axis=1) for v in values], axis=0)
        lnl = np.zeros(len(theta))
        phot = [v for v, part in zip(values, self._parts, strict=True) if part is None]
        if self._photometry is not None:
            lnl += self._photometry(np.concatenate(phot, axis=1), theta)
        for value, part in zip(values, self._parts, strict=True):
            if part is not None:
                mask, likelihood = part
                lnl += likelihood(value[:, mask], theta)
        lnl[impossible] = IMPOSSIBLE
        return lnl


def compile_observations(model, data, sps):
    """Predictions and likelihood of a list of Observations.

    Returns
    -------
    ObservationFluxes, ObservationLikelihood

    Raises
    ------
    ModelMismatchError
        If model or noise are not compiled; what it is, is named.
    DataError
        If the data cannot be used.
    """
    if not isinstance(sps, ExactBasis) or sps.has_own_spectra:
        raise NotCompiledError(f"spectra and lines are compiled with EmulatorSPS(), not {sps!r}")
    used: set = set()
    photometry, bands = None, np.zeros(0, dtype=bool)
    if observation.has_photometry(data):
        phot = observation.photometry(data)
        bands = phot[2]
        photometry, _ = compile_likelihood(model, data, phot)
    parts: list = []
    for o, noise in zip(data.native, data.noises, strict=True):
        if o.kind == "photometry":
            parts.append(None)
            continue
        mask = adapter.used(o)
        none = np.zeros(int(mask.sum()), dtype=bool)
        values = (np.asarray(v, dtype=float)[mask] for v in (o.flux, o.uncertainty))
        parts.append((mask, set_likelihood(model, noise, *values, none, used)))
    fluxes = ObservationFluxes(model, data, sps, bands)
    return fluxes, ObservationLikelihood(fluxes, photometry, parts)
