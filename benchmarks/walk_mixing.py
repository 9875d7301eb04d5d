"""How fast random walks forget their start in the posteriors of galaxies.

    OMP_NUM_THREADS=1 python benchmarks/walk_mixing.py [--emulator mathews23-64] [--mocks 3]

For mock galaxies (`rank_calibration.make_mock`), nested sampling of 1000 live points gives a
sample of the region above a likelihood with 70 % of the posterior in it. From there 256 chains
walk with dynesty's moves, in the ellipsoid of the sample at several step lengths, and with
moves along differences. Printed: their share of accepted steps, and the correlation of a
parameter with its start after a number of steps, mean over the parameters and worst."""

import argparse
from functools import partial

import numpy as np

STEPS = (100, 400, 1500)
LENGTHS = (0.05, 0.1, 0.2)


def live_points(obs, model, sps):
    """Points (n, ndim) of the unit cube above a likelihood, and that likelihood."""
    from prospect_emu.fit.fitting import fit_model

    results = fit_model(
        obs, model, sps, seed=1, verbose=False, nested_nlive_init=1000, nested_walks=200,
        nested_target_n_effective=1, nested_dlogz_init=0.05,
    )["sampling"][0]  # fmt: skip
    dead = int(np.searchsorted(np.cumsum(results.importance_weights()), 0.3))
    threshold = results.logl[dead]
    alive = (results.logl > threshold) & (np.asarray(results.samples_it) <= dead)
    return results.samples_u[alive], threshold


def correlations(walk, live, start):
    """Share accepted, and the correlation (ndim,) with the start after each of `STEPS`."""
    centre, out, u, taken, accepted = live.mean(axis=0), [], start, 0, 0
    for steps in STEPS:
        u, _, _, hits = walk(u, walks=steps - taken)
        accepted += hits.mean()
        taken = steps
        moved = ((start - centre) * (u - centre)).mean(axis=0)
        out.append(moved / ((start - centre) ** 2).mean(axis=0))
    return accepted / taken, out


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--emulator", default="mathews23-64")
    parser.add_argument("--mocks", type=int, default=3)
    args = parser.parse_args()

    from rank_calibration import make_mock

    from prospect_emu.fit.posterior import BatchedPosterior
    from prospect_emu.networks.loading import load_emulator
    from prospect_emu.sampling.walks import difference_walks, random_walks

    emulator, table = load_emulator(args.emulator), {}
    for mock in range(args.mocks):
        obs, model, sps, _, _ = make_mock(emulator, mock)
        posterior = BatchedPosterior(model, obs, sps)
        live, threshold = live_points(obs, model, sps)
        rng = np.random.default_rng(mock)
        start = live[rng.choice(len(live), 256, replace=False)]
        axes = np.linalg.cholesky(np.cov(live.T)) * np.sqrt(live.shape[1] + 2)

        def evaluate(u, posterior=posterior):
            theta = posterior.prior_transform(u)
            return theta, posterior.log_likelihood(theta)

        fixed = {"loglstar": threshold, "rng": rng, "evaluate": evaluate}
        moves = {
            f"ellipsoid, {s:g} sigma": partial(random_walks, axes=[axes] * 256, scale=s, **fixed)
            for s in LENGTHS
        }
        moves["differences"] = partial(difference_walks, **fixed)
        for name, walk in moves.items():
            table.setdefault(name, []).append(correlations(walk, live, start))
    print(f"{args.mocks} mock galaxies, {args.emulator}")
    head = "".join(f"{f'{n} steps':>16s}" for n in STEPS)
    print(f"{'moves':22s}{'accepted':>10s}{head}")
    for name, found in table.items():
        rho = np.array([r for _, r in found])
        cells = "".join(
            f"{f'{rho[:, i].mean():.2f} / {rho[:, i].max(axis=-1).mean():.2f}':>16s}"
            for i in range(len(STEPS))
        )
        print(f"{name:22s}{np.mean([a for a, _ in found]):10.3f}{cells}")


if __name__ == "__main__":
    main()
