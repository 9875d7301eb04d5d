"""Progress of a fit: one line on stderr, or a user's function."""

import time

import numpy as np
from dynesty.utils import get_neff_from_logwt
from tqdm import tqdm

_INTERVAL = 0.5  # seconds
_UNKNOWN = 1e100


class Progress:
    """Reports a run at most twice a second.

    Parameters
    ----------
    report : bool or callable
        True for a line on stderr; a callable receives a dict with ``phase``,
        ``ncall``, ``calls_per_second``, ``n_effective``, ``logz``, ``dlogz`` and
        ``seconds_left`` (None where unknown).
    dlogz : float
        Value at which the initial run ends.
    """

    def __init__(self, report, dlogz):
        self._callback = report if callable(report) else None
        self._bar = None
        self._active = bool(report)
        self._dlogz = dlogz
        self._began = self._next = time.perf_counter()

    def __enter__(self):
        if self._active and self._callback is None:
            self._bar = tqdm(unit="call", unit_scale=True, dynamic_ncols=True)
        return self

    def __exit__(self, *error):
        if self._bar is not None:
            self._bar.close()

    def _due(self):
        if not self._active or time.perf_counter() < self._next:
            return False
        self._next = time.perf_counter() + _INTERVAL
        return True

    def initial(self, sampler, point):
        """A step of the initial run."""
        if not self._due():
            return
        elapsed = time.perf_counter() - self._began
        # ln X falls by 1/nlive per iteration, and the end comes when the live
        # points hold dlogz: until the peak is found this is a lower bound.
        left = sampler.nlive_init * max(point.delta_logz + np.log(1.0 / self._dlogz), 0.0)
        seconds = left * elapsed / max(sampler.it, 1)
        if point.delta_logz > _UNKNOWN:  # dynesty's infinity, before the first estimate
            seconds = None
        self._report(
            "initial run", sampler, float(point.logz), float(point.delta_logz), seconds
        )  # fmt: skip

    def batch(self, sampler, results):
        """A step of a batch; `results` are those before it."""
        if self._due():
            self._report(f"batch {sampler.batch + 1}", sampler, float(results.logz[-1]), None, None)

    def _report(self, phase, sampler, logz, dlogz, left):
        rate = sampler.ncall / (time.perf_counter() - self._began)
        logwt = np.asarray(sampler.saved_run["logwt"])
        info = {
            "phase": phase,
            "ncall": int(sampler.ncall),
            "calls_per_second": rate,
            "n_effective": float(get_neff_from_logwt(logwt)) if logwt.size else 0.0,
            "logz": logz,
            "dlogz": dlogz,
            "seconds_left": left,
        }
        if self._callback is not None:
            self._callback(info)
        elif self._bar is not None:
            self._bar.n = info["ncall"]
            text = f"{phase}: n_eff {info['n_effective']:.0f}, logz {logz:.2f}"
            if left is not None:
                text += f", dlogz {dlogz:.3g} > {self._dlogz:g}, {left:.0f} s left"
            self._bar.set_postfix_str(text)
