"""A fit by a learnt proposal, judged by the exact likelihood; nested sampling where that fails."""

import time
from dataclasses import asdict, dataclass

import numpy as np
from scipy.stats import chi2

from ..errors import ModelMismatchError
from ..networks.proposal import features
from ..observe import observation
from ..parameters import DEFAULTS
from ..sampling.importance import REFIT, ImportanceSettings, importance_sample, thin
from ..sampling.nested import FitResults
from ..sampling.run import CONVERGED
from ..workers import single_thread
from .likelihood import Emulated, Gaussian
from .proposal_coordinates import ProposalCoordinates

# Best fits that this share of galaxies with Gaussian errors has, on either side, are doubted.
_UNLIKELY = 1e-2
# Samples of a result: of many light ones some are kept, with the weight of all.
_KEPT = 5000


@dataclass(frozen=True)
class Attempt:
    """What came of a learnt proposal.

    Attributes
    ----------
    results : FitResults or None
        None where the galaxy has to be fitted by nested sampling.
    diagnostics : dict
        ``amortised``: ``verdict``, ``reason`` and numbers.
    """

    results: FitResults | None
    diagnostics: dict


def attempt(posterior, data, model, proposal, seed, settings=None):
    """Sample a posterior by importance.

    Parameters
    ----------
    posterior : BatchedPosterior
    data : Observed
        With ``filters`` and ``phot_mask`` where it has photometry.
    model : prospect.models.ProspectorParams
    proposal : Proposal
    seed : int
    settings : ImportanceSettings, optional

    Returns
    -------
    Attempt

    Raises
    ------
    ModelMismatchError
        If the proposal is one of other bands or parameters.
    """
    settings = settings or ImportanceSettings()
    start = time.perf_counter()
    strange, density = _recognise(posterior, data, model, proposal)
    told = {"proposal": proposal.manifest["name"], "sha256": proposal.manifest.get("sha256")}
    told |= strange
    if density is None:
        return Attempt(None, {"amortised": told})
    if seed is None:
        seed = int(np.random.SeedSequence().generate_state(1)[0])
    rng = np.random.default_rng(seed)
    with single_thread():
        coordinates = ProposalCoordinates(posterior)
        run = importance_sample(coordinates.target, density, rng, settings)
    verdict, reason = run.verdict, run.reason
    best, misfit = _misfit(posterior, run)
    if misfit and verdict != REFIT:
        verdict, reason = REFIT, misfit
    told |= {
        "verdict": verdict,
        "reason": reason,
        "n_effective": float(run.n_eff),
        "n_call": run.n_call,
        "pareto_k": float(run.pareto_k),
        "efficiency": float(run.efficiency),
        "rounds": run.rounds,
        "drift": run.drift,
        "best_chi2": best,
        "seconds": time.perf_counter() - start,
        "settings": asdict(settings),
    }
    if verdict == REFIT:
        return Attempt(None, {"amortised": told})
    return Attempt(_results(run, rng, seed, told), {"amortised": told})


def _recognise(posterior, data, model, proposal):
    """Whether a galaxy is of the kind that a proposal was trained on.

    Returns
    -------
    dict
        ``strangeness`` (1 is the limit), and ``verdict`` and ``reason`` if it is not.
    Density or None
    """

    def mismatch(what):
        return ModelMismatchError(
            f"Proposal {proposal.manifest['name']!r} was not trained for {what}; train one for "
            "this model and these bands (prospect-emu train posterior), or fit by nested sampling."
        )

    def refused(reason):
        return {"verdict": REFIT, "reason": reason}, None

    labels, known = posterior.labels, proposal.manifest["labels"]
    more, fewer = ([n for n in a if n not in b] for a, b in ((labels, known), (known, labels)))
    if more or fewer:
        raise mismatch(
            f"free {', '.join(more)}" if more else f"a model without free {', '.join(fewer)}"
        )
    if list(labels) != known:
        raise mismatch(f"parameters in the order {', '.join(labels)}")
    if data.get("spectrum") is not None:
        return refused("a spectrum is fitted, and the proposal learnt photometry alone")
    if data.get("lines") is not None:
        return refused("line fluxes are fitted, and the proposal learnt photometry alone")
    if not isinstance(posterior.likelihood, (Gaussian, Emulated)):
        return refused("the likelihood is not that of independent Gaussian errors")
    if "magnification" in model.params:
        return refused("it is magnified, and the proposal learnt galaxies that are not")
    names = [f.name for f in observation.filter_list(data["filters"])]
    bands, mask = proposal.manifest["bands"], np.asarray(data["phot_mask"], dtype=bool)
    foreign = [n for n, used in zip(names, mask, strict=True) if used and n not in bands]
    if foreign:
        raise mismatch(f"the bands {', '.join(foreign)}")
    if "zred" in model.theta_index:
        return refused("its redshift is free, and the proposal learnt fixed ones")
    zred = float(np.squeeze(model.params.get("zred", DEFAULTS["zred"])))
    low, high = proposal.manifest["zred_range"]
    if not low <= zred <= high:
        return refused(f"its redshift {zred:g} is not within {low:g} to {high:g}")
    at = [bands.index(n) for n, used in zip(names, mask, strict=True) if used]
    flux, unc = np.zeros((1, len(bands))), np.ones((1, len(bands)))
    flux[0, at], unc[0, at] = posterior.likelihood.flux, posterior.likelihood.unc
    has = np.zeros((1, len(bands)), dtype=bool)
    has[0, at] = True
    if not (has & (flux > 0)).any():
        return refused("no flux is positive")
    code = proposal.embed(features(flux, unc, has, np.array([zred])))
    strangeness = float(proposal.strangeness(code)[0])
    found = {"strangeness": strangeness}
    if not strangeness <= 1.0:
        reason = f"it is unlike the training set ({strangeness:.2f} of the limit)"
        return found | {"verdict": REFIT, "reason": reason}, None
    return found, proposal.of(code[0])


def _misfit(posterior, run):
    """Chi2 of the best draw, and what is wrong with it, if anything."""
    nband, top = posterior.likelihood.flux.size, np.argmax(run.logl)
    log_norm = posterior.likelihood.log_norm_at(run.theta[[top]])[0]
    best = float(2.0 * (log_norm - run.logl[top]))
    # Most priors tell as much as the data: half of the parameters, about, are fitted.
    free = max(1, nband - posterior.ndim // 2)
    if chi2.sf(best, free) < _UNLIKELY:
        return best, f"no draw fits the data (chi2 {best:.0f} for {nband} bands)"
    if chi2.cdf(best, free) < _UNLIKELY:
        return best, f"the errors are too large (chi2 {best:.1f} for {nband} bands)"
    return best, None


def _results(run, rng, seed, told):
    """As nested sampling would hand it over."""
    index, weights = thin(np.exp(run.log_weights), rng, _KEPT)
    log_weights = np.log(weights)
    logl, efficiency = run.logl[index], 100.0 * float(run.n_eff) / run.n_call
    values = [
        ("niter", int(index.size)),
        ("ncall", np.full(index.size, run.n_call / index.size)),
        ("eff", efficiency),
        ("nlive", 0),
        ("samples", run.theta[index]),
        # Places in the unit cube, which nobody has asked for.
        ("samples_u", np.full(run.theta[index].shape, np.nan)),
        ("samples_id", index),
        ("logl", logl),
        ("logvol", log_weights + run.logz - logl),
        ("logwt", log_weights + run.logz),
        ("logz", np.full(index.size, run.logz)),
        ("logzerr", np.full(index.size, run.logz_err)),
        ("information", np.full(index.size, float(np.exp(log_weights) @ logl) - run.logz)),
    ]
    diagnostics = {
        "status": CONVERGED,
        "seed": seed,
        "n_call": run.n_call,
        "n_effective": float(run.n_eff),
        "logz_error": float(run.logz_err),
        "efficiency": efficiency,
        "amortised": told,
    }
    return FitResults(values, CONVERGED, diagnostics)
