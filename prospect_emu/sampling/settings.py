"""Settings of a nested-sampling run."""

from dataclasses import dataclass, field
from numbers import Real
from typing import Any

import numpy as np

from ..errors import ProspectEmuError

_MOVES = ("learnt", "differences", "ellipsoid")
_SAMPLES = ("rwalk", "unif", "slice", "rslice", "auto")
_BOUNDS = ("multi", "single", "balls", "cubes", "none")

# What fits and campaigns offer by name; docs/sampling.md has how each is calibrated.
PRESETS: dict[str, dict] = {
    "quick": {"forget": 0.9, "max_error": 0.3, "max_runs": 1, "target_n_effective": 1000},
    "standard": {},
    "careful": {"walks": 80, "forget": 0.6, "max_error": 0.08, "max_runs": 5},
}


@dataclass(frozen=True)
class NestedSettings:
    """Settings of a run; the names are Prospector's without ``nested_``.

    Attributes
    ----------
    nlive_init : int
        Live points of the initial run.
    dlogz_init : float
        The initial run ends when the live points can add less to ln Z.
    target_n_effective : int
        Batches are added until the (Kish) effective sample size reaches it.
    nlive_batch : int, optional
        Live points of a batch; default `nlive_init`.
    sample, bound, walks, bootstrap, first_update
        dynesty's. Lockstep are ``sample="rwalk"`` and ``"unif"``; other methods
        run serially.
    moves : str
        How ``rwalk`` steps: in coordinates that are "learnt" from the live points
        (`prospect_emu.sampling.walks.learnt_walks`), along "differences" of the other chains'
        starts (`prospect_emu.sampling.walks.difference_walks`), or as dynesty, uniform in an
        "ellipsoid". docs/sampling.md has how fast each forgets where it began.
    forget : float, optional
        Learnt walks are up to four times as long as `walks`, or half as long, so that the
        coordinate that forgets its start most slowly keeps this correlation with it; None
        for walks of one length.
    facc : float, optional
        Share of the steps in ellipsoids that a walk should accept, which sets their length;
        default 0.15, or 5 / `walks` up to 0.5, so that hardly any walk is stuck.
        dynesty's 0.5 makes steps so short that points hardly leave their start; in
        posteriors of galaxies, steps of which 5 to 15 % are accepted forget it two
        to four times as fast (docs/sampling.md).
    update_interval : float or int, optional
        Calls between updates of the bound: a float counts in units of nlive.
        Default 2 `walks`, two e-folds of the volume: next to an emulator an update
        costs as much as thousands of likelihoods.
    maxcall, maxiter, maxbatch : int, optional
        Budgets of the whole run; ``_init`` and ``_batch`` those of its parts.
    max_error : float
        The whole run is repeated, and all is merged, until the means of all parameters are
        known to this fraction of a posterior standard deviation, as far as the genealogy of
        the live points tells (`prospect_emu.sampling.genealogy`).
    max_runs : int
        So many runs at most; then the status says that the result is uncertain.
    weight_kwargs, stop_kwargs : dict
        For dynesty's `weight_function` and `stopping_function`.
    """

    nlive_init: int = 2000
    dlogz_init: float = 0.3
    target_n_effective: int = 10000
    nlive_batch: int | None = None
    sample: str = "rwalk"
    bound: str = "multi"
    walks: int = 40
    moves: str = "learnt"
    forget: float | None = 0.8
    facc: float | None = None
    bootstrap: int | None = 0
    update_interval: float | int | None = None
    first_update: dict = field(default_factory=dict)
    maxcall: int | None = None
    maxiter: int | None = None
    maxbatch: int | None = None
    maxcall_init: int | None = None
    maxiter_init: int | None = None
    maxcall_batch: int | None = None
    maxiter_batch: int | None = None
    live_points: Any = None
    max_error: float = 0.15
    max_runs: int = 3
    use_stop: bool = True
    save_bounds: bool = False
    weight_kwargs: dict = field(default_factory=lambda: {"pfrac": 1.0})
    stop_kwargs: dict = field(default_factory=dict)

    @classmethod
    def preset(cls, name, **changes):
        """Settings by name, "quick", "standard" or "careful", with some changed."""
        if not isinstance(name, str) or name not in PRESETS:
            raise ProspectEmuError(f"preset = {name!r} is unknown; use {', '.join(PRESETS)}.")
        return cls(**PRESETS[name] | changes)

    def __post_init__(self):
        lowest = {"nlive_init": 2, "nlive_batch": 2, "maxbatch": 0, "bootstrap": 0}
        whole = ["walks", "target_n_effective", "max_runs"]
        whole += [f"max{a}{b}" for a in ("call", "iter") for b in ("", "_init", "_batch")]
        for name, low in (lowest | dict.fromkeys(whole, 1)).items():
            value = getattr(self, name)
            if value is not None and not value >= low:
                raise ProspectEmuError(f"{name} = {value} is too small; give {low} or more.")
        if self.bootstrap == 1:
            raise ProspectEmuError("bootstrap = 1 is no set of samples; give 0, or 2 or more.")
        for name in ("dlogz_init", "max_error", "update_interval"):
            value = getattr(self, name)
            if value is not None and not 0 < value < np.inf:
                raise ProspectEmuError(f"{name} = {value} is not a positive number.")
        for name in ("facc", "forget"):
            value = getattr(self, name)
            if value is not None and not 0 < value < 1:
                raise ProspectEmuError(f"{name} = {value} must be between 0 and 1.")
        for name in ("first_update", "weight_kwargs", "stop_kwargs"):
            if not isinstance(getattr(self, name), dict):
                raise ProspectEmuError(f"{name} = {getattr(self, name)!r} must be a dictionary.")
        if not (self.live_points is None or np.iterable(self.live_points)):
            raise ProspectEmuError("live_points must be dynesty's: arrays of u, theta and ln L.")
        choices = {"sample": _SAMPLES, "bound": _BOUNDS, "moves": _MOVES}
        for name, known in choices.items():
            value = getattr(self, name)
            if isinstance(value, (str, Real)) and value not in known:
                raise ProspectEmuError(f"{name} = {value!r} is unknown; use {', '.join(known)}.")
