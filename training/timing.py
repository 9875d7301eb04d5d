"""Time per parameter vector of emulators, and of what they stand for, in one run.

Processor time of one thread: on a busy machine a call of a second is interrupted and one
of a microsecond is not, which no turns and no minimum of elapsed times make up for. All
take turns nevertheless, so that a crowded cache or a slow clock meets all, and the
fastest of many calls counts.
"""

import time
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from prospect_emu.networks.vector import PARAMETERS

BATCHES = (1, 256)
_ZRED, _LOGZSOL = PARAMETERS.index("zred"), PARAMETERS.index("logzsol")
# FSPS takes seconds for each metallicity of its grid that it meets for the first time.
_LOGZSOL_SPAN = (-0.06, -0.05)
_FSPS_VECTORS = 6


@dataclass(frozen=True)
class Case:
    """One thing to time.

    Attributes
    ----------
    label : str
    batch : int
        Parameter vectors per call.
    fixed : bool
        Whether all have one redshift, and what depends on it alone is prepared.
    call : callable
        Without arguments.
    vectors : int
        So many does a call compute.
    """

    label: str
    batch: int
    fixed: bool
    call: object
    vectors: int


def emulator_cases(label, emulator, theta):
    """Both batches at any redshift and at one.

    At any redshift the call is ``emulator.maggies``; at one it is what a fit calls,
    ``emulator.at_redshift(z).reference_maggies``.

    Parameters
    ----------
    label : str
    emulator : EmulatorBase
    theta : ndarray, shape (n, 18)
        Repeated as often as a batch needs.

    Returns
    -------
    list of Case
    """
    cases = []
    zred = float(np.median(theta[:, _ZRED]))
    at_z = emulator.at_redshift(zred)
    for batch in BATCHES:
        some = np.resize(theta, (batch, theta.shape[1]))
        same = some.copy()
        same[:, _ZRED] = zred
        cases += [
            Case(label, batch, False, lambda t=some: emulator.maggies(t, check=False), batch),
            Case(label, batch, True, lambda t=same: at_z.reference_maggies(t), batch),
        ]
    return cases


def fsps_cases(recipe, theta):
    """FSPS through Prospector, which takes one vector at a time.

    Raises
    ------
    SetupError
        If FSPS is not available.
    """
    from .generate import FSPSPhotometry

    photometry = FSPSPhotometry(recipe)
    few = np.resize(theta, (_FSPS_VECTORS, theta.shape[1]))
    few[:, _LOGZSOL] = np.linspace(*_LOGZSOL_SPAN, len(few))
    return [Case("FSPS", 1, False, lambda: [photometry(t) for t in few], len(few))]


def measure(cases, rounds=20, turn=0.05, enough=2.0):
    """Processor seconds per vector of each case, on one thread.

    Parameters
    ----------
    cases : sequence of Case
    rounds : int
        So often is it every case's turn.
    turn : float
        Seconds per turn, one call at least.
    enough : float
        Seconds after which a slow case is not called again.

    Returns
    -------
    dict
        ``(label, batch, fixed)``: seconds of the fastest call over its vectors.
    """
    calls: list = [[] for _ in cases]
    with threadpool_limits(1), _torch_on_one_thread():
        for case in cases:  # caches, and FSPS's populations
            case.call()
        for _ in range(rounds):
            for case, took in zip(cases, calls, strict=True):
                if sum(took) < enough:
                    took += _calls(case.call, turn)
    return {
        (case.label, case.batch, case.fixed): min(took) / case.vectors
        for case, took in zip(cases, calls, strict=True)
    }


def _calls(call, turn):
    """Seconds of each of as many calls as a turn has time for."""
    out = []
    while not out or sum(out) < turn:
        start = time.process_time()
        call()
        out.append(time.process_time() - start)
    return out


class _torch_on_one_thread:
    """Torch has threads of its own; without torch this does nothing."""

    def __enter__(self):
        import sys

        # Nothing to limit unless an engine has loaded it.
        self._torch = sys.modules.get("torch")
        if self._torch is not None:
            self._threads = self._torch.get_num_threads()
            self._torch.set_num_threads(1)

    def __exit__(self, *error):
        if self._torch is not None:
            self._torch.set_num_threads(self._threads)
