"""Lockstep sampling against unmodified dynesty, and queue sizes against each other.

    OMP_NUM_THREADS=1 python benchmarks/sampling_statistics.py OUT [--seeds 10] [--emulator NAME]
        [--galaxy TABLE]

Two problems of 17 dimensions: a correlated Gaussian in the unit box, whose evidence
and moments are known, and a galaxy: a mock one in 45 bands, or a table of photometry. Each is
run statically from several seeds by dynesty as it comes, by lockstep with queues of 1, 16, 64
and 256 and dynesty's own moves and settings, and by lockstep in learnt coordinates, the default,
and along differences. One file per run in OUT; a second call makes what is missing.
"""

import argparse
import json
import time
import warnings
from pathlib import Path

import numpy as np

QUEUES = (1, 16, 64, 256)


class Gaussian:
    """A Gaussian of width 0.03 with correlations 0.6^|i - j|, well inside the unit box."""

    name, ndim = "gaussian", 17

    def __init__(self):
        corr = 0.6 ** np.abs(np.subtract.outer(np.arange(self.ndim), np.arange(self.ndim)))
        self.mean = np.linspace(0.4, 0.6, self.ndim)
        self.sigma = np.full(self.ndim, 0.03)
        cov = corr * np.outer(self.sigma, self.sigma)
        self.precision = np.linalg.inv(cov)
        self.logz = 0.5 * self.ndim * np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(cov)[1]

    def transform(self, u):
        return np.array(u)

    def log_likelihood(self, v):
        d = v - self.mean
        return -0.5 * np.einsum("ij,ij->i", d @ self.precision, d)


class Galaxy:
    """A galaxy, or the mock one of `fit_speed`; evidence and moments are not known."""

    name = "galaxy"

    def __init__(self, emulator, table=None):
        from fit_speed import mock_galaxy

        from prospect_emu import EmulatorSpecModel, EmulatorSPS
        from prospect_emu.fit.posterior import BatchedPosterior
        from prospect_emu.observe.tables import read_photometry
        from prospect_emu.prospector.mathews23 import model_params

        if table is None:
            obs, model, sps = mock_galaxy(emulator, 1.0, 1)
        else:
            obs = read_photometry(table)
            sps = EmulatorSPS(emulator, filters=obs["filters"])
            model = EmulatorSpecModel(model_params(zred=obs["zred"]))
            obs = sps.inflate(obs)
        posterior = BatchedPosterior(model, obs, sps)
        self.ndim = posterior.ndim
        self.transform, self.log_likelihood = posterior.prior_transform, posterior.log_likelihood
        self.mean = self.sigma = self.logz = None


def lockstep(problem, queue, nlive, walks, seed):
    """Results of one run with dynesty's moves and a queue size, or with moves of that name."""
    from prospect_emu.sampling.nested import NestedSettings, run_nested

    named = isinstance(queue, str)
    own = {"moves": queue} if named else {"moves": "ellipsoid", "facc": 0.5}
    settings = NestedSettings(
        nlive_init=nlive, walks=walks, maxbatch=0, dlogz_init=0.05, max_runs=1, **own
    )
    return run_nested(
        problem.transform, problem.log_likelihood, problem.ndim, settings, seed=seed,
        queue_size=None if named else queue,
    )  # fmt: skip


def serial(problem, nlive, walks, seed):
    """Results of dynesty as it comes, one likelihood at a time."""
    import dynesty

    from prospect_emu.sampling.nested import NestedSettings

    settings = NestedSettings(walks=walks)
    sampler = dynesty.NestedSampler(
        lambda v: float(problem.log_likelihood(v[None])[0]),
        lambda u: problem.transform(u[None])[0],
        problem.ndim, nlive=nlive, sample="rwalk", bound=settings.bound, walks=walks,
        bootstrap=0, update_interval=settings.update_interval or 2.0 * walks,
        rstate=np.random.default_rng(seed),
    )  # fmt: skip
    sampler.run_nested(dlogz=0.05, print_progress=False)
    return sampler.results


def summarise(results, seconds):
    """What is kept of a run."""
    from dynesty.utils import mean_and_cov

    mean, cov = mean_and_cov(results.samples, results.importance_weights())
    logl = np.asarray(results.logl)
    return {
        "logz": float(results.logz[-1]),
        "logzerr": float(results.logzerr[-1]),
        "mean": mean.tolist(),
        "std": np.sqrt(np.diag(cov)).tolist(),
        "ncall": int(np.sum(results.ncall)),
        "niter": len(logl),
        "seconds": seconds,
    }


def report(problem, runs):
    """One line per method: ln Z and moments."""
    everything = [r for group in runs.values() for r in group]
    centre = (
        problem.mean if problem.mean is not None else np.mean([r["mean"] for r in everything], 0)
    )
    sigma = (
        problem.sigma if problem.sigma is not None else np.mean([r["std"] for r in everything], 0)
    )
    known = "known" if problem.logz is not None else "unknown; moments relative to all runs"
    print(f"\n{problem.name}: {problem.ndim} dimensions, ln Z {known}")
    head = (
        "ln Z",
        "scatter",
        "its error",
        "bias",
        "mean off",
        "rms",
        "width",
        "calls",
    )
    print(f"{'method':14s}{'runs':>5s}" + "".join(f"{h:>10s}" for h in head))
    for method, group in runs.items():
        n = len(group)
        if n < 2:
            continue
        logz = np.array([r["logz"] for r in group])
        means = (np.array([r["mean"] for r in group]) - centre) / sigma
        widths = np.array([r["std"] for r in group]) / sigma
        bias = "" if problem.logz is None else f"{(logz.mean() - problem.logz):.2f}"
        print(
            f"{method:14s}{n:5d}{logz.mean():10.2f}{logz.std(ddof=1):10.2f}"
            f"{np.mean([r['logzerr'] for r in group]):10.2f}{bias:>10s}"
            f"{np.abs(means.mean(axis=0)).max():10.2f}{means.std(axis=0, ddof=1).mean():10.2f}"
            f"{widths.mean():10.3f}{np.mean([r['ncall'] for r in group]):10.0f}"
        )
    print(
        "ln Z, its scatter between seeds and dynesty's own error of one run; ln Z minus the truth;"
    )
    print(
        "largest offset of a mean over all seeds, scatter of a mean between seeds (both in sigma);"
    )
    print("posterior widths relative to the truth.")


def main():
    from prospect_emu.sampling.nested import NestedSettings

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of results")
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--nlive", type=int, default=500)
    parser.add_argument("--walks", type=int, default=NestedSettings().walks)
    parser.add_argument("--moves", nargs="*", default=["learnt", "differences"])
    parser.add_argument("--queues", type=int, nargs="*", default=QUEUES)
    parser.add_argument("--emulator", default="mathews23-256")
    parser.add_argument("--problems", nargs="+", default=["gaussian", "galaxy"])
    parser.add_argument("--galaxy", help="table of photometry with a redshift")
    parser.add_argument("--without-dynesty", action="store_true", help="lockstep runs only")
    args = parser.parse_args()

    from prospect_emu.files import write_atomic
    from prospect_emu.networks.loading import load_emulator
    from prospect_emu.workers import single_thread

    makers = {
        "gaussian": Gaussian,
        "galaxy": lambda: Galaxy(load_emulator(args.emulator), args.galaxy),
    }
    settings = {k: vars(args)[k] for k in ("nlive", "walks", "emulator", "galaxy")}
    args.out.mkdir(parents=True, exist_ok=True)
    settings_file = args.out / "settings.json"
    if settings_file.exists() and json.loads(settings_file.read_text()) != settings:
        parser.error(f"{args.out} holds runs with other settings; choose another folder")
    write_atomic(settings_file, json.dumps(settings).encode())
    methods = {m: m for m in args.moves} | {f"queue {q}": q for q in args.queues}
    if not args.without_dynesty:
        methods["dynesty"] = None
    for name in args.problems:
        problem, runs = makers[name](), {m: [] for m in methods}
        for seed in range(args.seeds):
            for method, queue in methods.items():
                path = args.out / f"{name}-{method.replace(' ', '')}-{seed:03d}.json"
                if not path.exists():
                    start = time.perf_counter()
                    with warnings.catch_warnings(), single_thread():
                        warnings.simplefilter("ignore")
                        if queue is None:
                            results = serial(problem, args.nlive, args.walks, seed)
                        else:
                            results = lockstep(problem, queue, args.nlive, args.walks, seed)
                    found = summarise(results, time.perf_counter() - start)
                    write_atomic(path, json.dumps(found).encode())
                    print(f"{path.stem}: {found['seconds']:.0f} s", flush=True)
                runs[method].append(json.loads(path.read_text()))
        report(problem, runs)


if __name__ == "__main__":
    main()
