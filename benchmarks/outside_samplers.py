"""Other nested samplers at the same posterior, in batches: accuracy per CPU second.

    pip install nautilus-sampler ultranest
    OMP_NUM_THREADS=1 python benchmarks/outside_samplers.py CATALOG [--galaxies 5238 ...]
        [--samplers nautilus ultranest] [--seconds 600] [--live 2000]

CATALOG, galaxies and references are those of `samplers.py`; the likelihood is the compiled one,
which both samplers call with hundreds of vectors at a time. nautilus as it comes, UltraNest with
its population of slice steps (a fifth of the live points at a time, 2 ndim steps each). A run
ends when its sampler is content or after --seconds of the clock.
"""

import argparse
import json
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np


def nautilus(posterior, live, seconds, seed):
    """Samples, their weights, ln Z, calls, and whether nautilus was content."""
    from nautilus import Sampler

    sampler = Sampler(
        posterior.prior_transform, posterior.log_likelihood, n_dim=posterior.ndim, n_live=live,
        vectorized=True, pass_dict=False, seed=seed,
    )  # fmt: skip
    done = sampler.run(n_eff=10000, timeout=seconds, verbose=False)
    samples, log_weight, _ = sampler.posterior()
    return samples, np.exp(log_weight), sampler.log_z, sampler.n_like, done


def ultranest(posterior, live, seconds, seed):
    """As `nautilus`, for UltraNest."""
    import ultranest
    from ultranest import popstepsampler

    np.random.seed(seed)  # noqa: NPY002 - UltraNest has no other generator
    start, calls = time.perf_counter(), 0

    class OutOfTime(Exception):
        pass

    def log_likelihood(theta):
        nonlocal calls
        calls += len(theta)
        if time.perf_counter() - start > seconds:
            raise OutOfTime
        return posterior.log_likelihood(theta)

    sampler = ultranest.ReactiveNestedSampler(
        posterior.labels, log_likelihood, posterior.prior_transform, vectorized=True
    )
    sampler.stepsampler = popstepsampler.PopulationSliceSampler(
        popsize=live // 5, nsteps=2 * posterior.ndim,
        generate_direction=popstepsampler.generate_mixture_random_direction,
    )  # fmt: skip
    try:
        found = sampler.run(
            min_num_live_points=live, show_status=False, viz_callback=False, frac_remain=0.1,
            max_num_improvement_loops=0, dlogz=1.0,
        )  # fmt: skip
    except OutOfTime:
        return None, None, np.nan, calls, False
    weighted = found["weighted_samples"]
    return weighted["points"], weighted["weights"], found["logz"], calls, True


def main():
    """Each sampler at each galaxy."""
    import samplers
    from threadpoolctl import threadpool_limits

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("catalog", type=Path)
    parser.add_argument("--galaxies", nargs="+", default=["5238"])
    parser.add_argument("--samplers", nargs="+", default=["nautilus", "ultranest"])
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--live", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    references = json.loads(samplers.REFERENCES.read_text())
    print("galaxy  sampler       CPU s     calls  rms error  worst  width     ln Z  content")
    for name in args.galaxies:
        posterior = samplers.problem(name, args.catalog)[-1]
        for kind in args.samplers:
            start = time.process_time()
            with threadpool_limits(1):
                points, weights, logz, calls, done = globals()[kind](
                    posterior, args.live, args.seconds, args.seed
                )
            line = f"{name:8s}{kind:10s}{time.process_time() - start:9.1f}{calls:10d}"
            if points is None:
                print(f"{line}  ran out of time before the end", flush=True)
                continue
            run = SimpleNamespace(samples=points, importance_weights=lambda w=weights: w)
            error, width = samplers.score(run, references[name])
            print(
                f"{line}{np.sqrt(np.mean(error**2)):9.3f}{np.abs(error).max():8.3f}"
                f"{width.mean():7.3f}{logz:10.2f}  {done}",
                flush=True,
            )


if __name__ == "__main__":
    main()
