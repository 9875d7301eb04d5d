"""Maximum a posteriori: torch gradients against Prospector's `run_minimize`.

    OMP_NUM_THREADS=1 python benchmarks/map_fit.py EMULATOR [--tables FILE] [--starts 3]

One mock galaxy in 45 bands, 17 free parameters, the same starts for all: the model's
initial values, then draws from the prior. Prospector climbs with the emulator as
its `sps` (`EmulatorSpecModel`, its fastest model class); "lm" fits the photometry without
the prior, so that its posterior density may be low where its chi2 is.
"""

import argparse
import time
import warnings

import numpy as np


def prospectors(obs, model, sps, method, starts):
    """(theta, calls, CPU seconds) of Prospector's minimiser from each start."""
    from prospect.fitting import lnprobfn, run_minimize
    from prospect.utils.obsutils import fix_obs

    full, out = fix_obs(dict(obs)), []
    count = [0]

    def counted(*args, **kwargs):
        count[0] += 1
        return lnprobfn(*args, **kwargs)

    for start in starts:
        model.set_parameters(start)
        count[0] = 0
        began = time.process_time()
        results, _, best = run_minimize(
            full, model, sps, noise=(None, None), lnprobfn=counted, min_method=method,
            min_opts={}, nmin=1,
        )  # fmt: skip
        out.append((results[best].x, count[0], time.process_time() - began))
    return out


def ours(posterior, starts):
    """(theta, calls, CPU seconds) of L-BFGS-B with torch gradients from each start."""
    from prospect_emu.training.gradients import maximum_a_posteriori

    out = []
    for start in starts:
        began = time.process_time()
        (best,) = maximum_a_posteriori(posterior, start)
        out.append((best.theta, best.calls, time.process_time() - began))
    return out


def report(name, runs, density):
    """One line: the best density of all starts, each start's, and the cost."""
    values = [density(theta) for theta, _, _ in runs]
    calls, seconds = (sum(r[i] for r in runs) for i in (1, 2))
    each = " ".join(f"{v:9.2f}" for v in values)
    print(f"{name:28s}{max(values):10.2f}{calls:9d}{seconds:9.2f}   {each}", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("emulator", help="bundled name or file of a network")
    parser.add_argument("--tables", help="ExactSPS tables: climb with exact gradients too")
    parser.add_argument("--starts", type=int, default=3)
    parser.add_argument("--zred", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()

    from fit_speed import mock_galaxy

    from prospect_emu.fit.posterior import BatchedPosterior
    from prospect_emu.networks.loading import load_emulator
    from prospect_emu.training.gradients import TorchPosterior

    obs, model, sps = mock_galaxy(load_emulator(args.emulator), args.zred, args.seed)
    truth = model.theta.copy()
    batched = BatchedPosterior(model, obs, sps)

    posterior = TorchPosterior(model, obs, sps)

    def density(theta):
        theta = np.clip(theta, *posterior.bounds.T)[None]
        return float(batched.log_prior(theta)[0] + batched.log_likelihood(theta)[0])

    model.set_parameters(model.initial_theta)
    rng = np.random.default_rng(args.seed)
    starts = [model.initial_theta.copy()]
    starts += [model.prior_transform(rng.random(model.ndim)) for _ in range(args.starts - 1)]
    print(f"{sps.emulator}: ln posterior at the true parameters {density(truth):.2f}")
    print(f"{'method':28s}{'best':>10s}{'calls':>9s}{'CPU s':>9s}   each start")
    report("torch gradients, L-BFGS-B", ours(posterior, starts), density)
    if args.tables:
        from prospect_emu import EmulatorSPS
        from prospect_emu.training.engines import exact_emulator

        exact = EmulatorSPS(exact_emulator(args.tables, sps.filters), sps.filters)
        runs = ours(TorchPosterior(model, obs, exact), starts)
        print("(the next line: a maximum of the exact posterior, its density with the emulator)")
        report("ExactSPS gradients, L-BFGS-B", runs, density)
    for method in ("lm", "powell"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            report(f"run_minimize, {method}", prospectors(obs, model, sps, method, starts), density)


if __name__ == "__main__":
    main()
