"""Do certificates tell the truth? Their verdicts against direct fits with exact fluxes.

    OMP_NUM_THREADS=1 python benchmarks/certificates.py OUT --tables FILE --emulators A B
    ... --reference exact --free massmet dust2 dust_index --seeds 1 --nlive 50 --walks 12

Mock galaxies with exact fluxes (`rank_calibration.make_mock`) are fitted with each emulator and
certified; then the same data are fitted directly with a reference, whose fluxes
are exact: an emulator file that is exact at fixed redshift, or ExactSPS itself (`--reference
exact`: slow; with `--free` all other parameters are fixed at the truth, in the fits with
emulators too). A good or corrected posterior should have the
medians of the direct fit, as far as two seeds of the direct fit agree with each other.

One file per fit in OUT; a second call makes what is missing.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np

Q = (0.16, 0.5, 0.84)


def quantiles(values, weights):
    from prospect_emu.fit.quantiles import weighted_quantiles

    return weighted_quantiles(values, weights, Q).tolist()


def parameters(mock_model, zred, true, free):
    """Model parameters of the fits: the mock's, or only some free and the others at the truth."""
    from rank_calibration import priors

    params = priors(zred)
    for name, span in mock_model.theta_index.items():
        if free and name not in free:
            value = true[span]
            params[name] |= {"isfree": False, "init": value if len(value) > 1 else float(value[0])}
    return params


def fit(emulator, obs, params, seed, args, engine=None):
    """Quantiles of the free parameters, and of the certificate's correction."""
    from prospect_emu import EmulatorSpecModel, EmulatorSPS
    from prospect_emu.fit.fitting import fit_model
    from prospect_emu.fit.result import FitResult

    sps = EmulatorSPS(emulator, obs["filters"])
    model = EmulatorSpecModel(params)
    obs = sps.inflate(obs)
    start = time.perf_counter()
    output = fit_model(
        obs, model, sps, seed=seed, verbose=False, nested_nlive_init=args.nlive,
        nested_walks=args.walks, nested_target_n_effective=1, nested_dlogz_init=0.05,
    )  # fmt: skip
    result = FitResult.from_run(output, model, obs, sps)
    found = {
        "seconds": time.perf_counter() - start,
        "parameters": list(result.parameters),
        "quantiles": quantiles(result.samples, result.weights),
        "logz": result.logz,
        "logz_err": result.logz_err,
    }
    if engine is not None:
        name, exact = engine
        c = result.certified(exact, n=args.draws, engine=name).certificate
        found |= {
            "certificate": {k: v for k, v in c.numbers.items() if k not in ("shift", "width")},
            "corrected": quantiles(result.samples[c.index], c.weights),
        }
    return found


def discrepancy(a, b):
    """Differences of medians over sqrt(s_a^2 + s_b^2), s half the 16-84 interval."""
    a, b = np.array(a), np.array(b)
    return (a[1] - b[1]) / np.hypot((a[2] - a[0]) / 2, (b[2] - b[0]) / 2)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="folder of results")
    parser.add_argument("--tables", required=True, help="ExactSPS tables")
    parser.add_argument("--emulators", nargs="+", required=True, help="names or files to certify")
    parser.add_argument("--reference", default="mathews23-factored", help="emulator, or 'exact'")
    parser.add_argument("--free", nargs="*", help="parameters to fit; default all")
    parser.add_argument("--seeds", type=int, default=2, help="of the direct fit")
    parser.add_argument("--mocks", type=int, default=6)
    parser.add_argument("--nlive", type=int, default=400)
    parser.add_argument("--walks", type=int, default=100)
    parser.add_argument("--draws", type=int, default=2000)
    args = parser.parse_args()

    from fit_speed import BANDS
    from rank_calibration import make_mock

    from prospect_emu.files import write_atomic
    from prospect_emu.networks.loading import load_emulator
    from prospect_emu.observe.filters import load_filters
    from prospect_emu.training.engines import exact_emulator, exact_engine

    args.out.mkdir(parents=True, exist_ok=True)
    emulators = {Path(n).stem: load_emulator(n) for n in args.emulators}
    first = next(iter(emulators.values()))
    engine = exact_engine(first.select(BANDS), args.tables)
    if args.reference == "exact":
        reference = exact_emulator(args.tables, load_filters(BANDS))
    else:
        reference = load_emulator(args.reference)

    def stored(name, make):
        path = args.out / f"{name}.json"
        if not path.exists():
            write_atomic(path, json.dumps(make(), indent=1).encode())
            print(f"{path.stem}: {json.loads(path.read_text())['seconds']:.0f} s", flush=True)
        return json.loads(path.read_text())

    lines = []
    for mock in range(args.mocks):
        # What was inflated for the first emulator starts again from its observed errors.
        obs, mock_model, _, true, zred = make_mock(first, mock, engine[1])
        params = parameters(mock_model, zred, true, args.free)
        direct = [
            stored(
                f"mock{mock}-direct-{s}", lambda s=s, o=obs, p=params: fit(reference, o, p, s, args)
            )
            for s in range(1, args.seeds + 1)
        ]
        scatter = discrepancy(direct[0]["quantiles"], direct[-1]["quantiles"])
        for name, emulator in emulators.items():
            found = stored(
                f"mock{mock}-{name}",
                lambda e=emulator, o=obs, p=params: fit(e, o, p, 1, args, engine),
            )
            before = discrepancy(found["quantiles"], direct[0]["quantiles"])
            after = discrepancy(found["corrected"], direct[0]["quantiles"])
            c = found["certificate"]
            lines.append(
                f"{mock:5d} {name:22s}{c['verdict']:>10s}{c['pareto_k']:7.2f}"
                f"{100 * c['effective_fraction']:7.0f}{np.abs(before).max():9.2f}"
                f"{np.abs(after).max():9.2f}{np.abs(scatter).max():9.2f}"
                f"{found['logz'] - direct[0]['logz']:9.2f}"
                f"{found['logz'] + c['dlogz'] - direct[0]['logz']:9.2f}"
            )
    print(
        f"\n{'mock':>5s} {'emulator':22s}{'verdict':>10s}{'k':>7s}{'eff %':>7s}{'before':>9s}"
        f"{'after':>9s}{'seeds':>9s}{'d ln Z':>9s}{'after':>9s}"
    )
    print("\n".join(lines))
    print(
        "largest discrepancy of a median from the direct fit before and after the correction, and"
    )
    print("between two seeds of the direct fit; ln Z minus the direct fit's, before and after.")


if __name__ == "__main__":
    main()
