"""Time per parameter vector of emulators, and of what they stand for, in one run.

Processor time of one thread: on a busy machine a call of a second is interrupted and one
of a microsecond is not. All take turns, so that a crowded cache or a slow clock meets all,
and the fastest of many calls counts.
"""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from prospect_emu.networks.vector import PARAMETERS

BATCHES = (1, 256)
_ZRED, _LOGZSOL = PARAMETERS.index("zred"), PARAMETERS.index("logzsol")


class Case(NamedTuple):
    """One thing to time: a call without arguments, which computes this many vectors.

    `batch` of them at once; `fixed`: all at one redshift, and what depends on it alone
    is prepared.
    """

    label: str
    batch: int
    fixed: bool
    call: Callable
    vectors: int


def emulator_cases(label, emulator, theta):
    """`emulator.maggies`, and what a fit calls at one redshift, of vectors out of `theta`."""
    zred = float(np.median(theta[:, _ZRED]))
    at_z, cases = emulator.at_redshift(zred), []
    for n in BATCHES:
        some = np.resize(theta, (n, theta.shape[1]))
        same = some.copy()
        same[:, _ZRED] = zred
        cases += [
            Case(label, n, False, lambda t=some: emulator.maggies(t, check=False), n),
            Case(label, n, True, lambda t=same: at_z.reference_maggies(t), n),
        ]
    return cases


def fsps_cases(recipe, theta, n=6):
    """FSPS through Prospector, which takes one vector at a time; `SetupError` without FSPS."""
    from .generate import FSPSPhotometry

    photometry = FSPSPhotometry(recipe)
    few = np.resize(theta, (n, theta.shape[1]))
    # FSPS takes seconds for each metallicity of its grid that it meets for the first time.
    few[:, _LOGZSOL] = np.linspace(-0.06, -0.05, n)
    return [Case("FSPS", 1, False, lambda: [photometry(t) for t in few], n)]


def measure(cases, rounds=20, turn=0.05, enough=2.0):
    """Processor seconds per vector of the fastest call of each case, by (label, batch, fixed).

    It is every case's turn `rounds` times, for `turn` seconds (one call at least), until
    it had `enough` seconds.
    """
    calls: list = [[] for _ in cases]
    with threadpool_limits(1):
        for case in cases:  # caches, and FSPS's populations
            case.call()
        for _ in range(rounds):
            for case, took in zip(cases, calls, strict=True):
                until = min(sum(took) + turn, enough)
                while not took or sum(took) < until:
                    start = time.process_time()
                    case.call()
                    took.append(time.process_time() - start)
    fastest = (min(took) for took in calls)
    return {c[:3]: took / c.vectors for c, took in zip(cases, fastest, strict=True)}
