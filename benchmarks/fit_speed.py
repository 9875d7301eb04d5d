"""How long a fit takes, where the time goes, and what Prospector's own loop would need.

    OMP_NUM_THREADS=1 python benchmarks/fit_speed.py EMULATOR [--walks 25 50] [--fsps]
        [--exact TABLES] [--n-effective 200000]

A mock galaxy in 45 bands, 17 free parameters (redshift fixed), nested sampling
to dlogz 0.02; the same with ExactSPS in place of the emulator; and the paper's own
settings, batches up to an effective sample size. The last lines extrapolate unmodified
`prospect.fitting.fit_model` with the same emulator as a drop-in, and with FSPS, from its first
calls in this very run.
"""

import argparse
import time
import warnings

import numpy as np

# The bands of the 3D-HST catalog of COSMOS.
BANDS = """
wfc3_ir_f160w cfht_megacam_us_9301 subaru_suprimecam_B cfht_megacam_gs_9401 subaru_suprimecam_V
acs_wfc_f606w cfht_megacam_rs_9601 subaru_suprimecam_rp cfht_megacam_is_9701 subaru_suprimecam_ip
acs_wfc_f814w cfht_megacam_zs_9801 subaru_suprimecam_zp vista_vircam_Y wfc3_ir_f125w
mayall_newfirm_J1 mayall_newfirm_J2 mayall_newfirm_J3 cfht_wircam_J_8101 vista_vircam_J
wfc3_ir_f140w mayall_newfirm_H1 mayall_newfirm_H2 cfht_wircam_H_8201 vista_vircam_H
mayall_newfirm_K cfht_wircam_Ks_8302 vista_vircam_Ks spitzer_irac_ch1 spitzer_irac_ch2
spitzer_irac_ch3 spitzer_irac_ch4 subaru_suprimecam_ia427 subaru_suprimecam_ia464
subaru_suprimecam_ia484 subaru_suprimecam_ia505 subaru_suprimecam_ia527 subaru_suprimecam_ia574
subaru_suprimecam_ia624 subaru_suprimecam_ia679 subaru_suprimecam_ia709 subaru_suprimecam_ia738
subaru_suprimecam_ia767 subaru_suprimecam_ia827 spitzer_mips_24
""".split()


def mock_galaxy(emulator, zred, seed, error=0.05):
    """obs, model factory and sps of a galaxy at a central prior draw, with 5 % errors."""
    from prospect_emu import EmulatorSpecModel, EmulatorSPS
    from prospect_emu.observe.filters import load_filters
    from prospect_emu.prospector.mathews23 import model_params

    bands = BANDS if set(BANDS) <= set(emulator.filters) else emulator.filters[:45]
    filters = load_filters(bands)
    sps = EmulatorSPS(emulator, filters)
    model = EmulatorSpecModel(model_params(zred=zred))
    rng = np.random.default_rng(seed)
    model.set_parameters(model.prior_transform(0.25 + 0.5 * rng.random(model.ndim)))
    flux = sps.emulator.maggies(sps.theta_from_params(model.params))
    obs = {
        "filters": filters,
        "maggies": flux * (1 + error * rng.standard_normal(flux.size)),
        "maggies_unc": error * flux,
        "wavelength": None,
        "spectrum": None,
    }
    return sps.inflate(obs), model, sps


def batch_costs(posterior, n=256):
    """Microseconds per vector of the parts of a batched call, the least of 30."""
    u = np.random.default_rng(0).random((n, posterior.ndim))
    theta = posterior.prior_transform(u)
    full = posterior.predictions.vectors(theta)

    def cost(function, argument):
        times = []
        for _ in range(30):
            start = time.perf_counter()
            function(argument)
            times.append(time.perf_counter() - start)
        return min(times) / n * 1e6

    return {
        "prior transform": cost(posterior.prior_transform, u),
        "parameter map": cost(posterior.predictions.vectors, theta),
        "network": cost(posterior.emulator.reference_maggies, full),
        "likelihood, all of it": cost(posterior.log_likelihood, theta),
    }


def lockstep(obs, model, sps, nlive, walks, seed, dlogz, n_effective=1):
    """Diagnostics of one fit, and its (logz, error)."""
    from prospect_emu.fit.fitting import fit_model

    results, seconds = fit_model(
        obs, model, sps, nested_nlive_init=nlive, nested_walks=walks, nested_dlogz_init=dlogz,
        nested_target_n_effective=n_effective, seed=seed, verbose=False,
    )["sampling"]  # fmt: skip
    return results.diagnostics | {"wall": seconds}, (results.logz[-1], results.logzerr[-1])


def prospector(obs, kind, sps, calls, walks, zred):
    """Seconds per likelihood call of unmodified `prospect.fitting.fit_model`."""
    from prospect.fitting import fit_model, lnprobfn

    from prospect_emu.prospector.mathews23 import model_params

    count = [0]

    def counted(*args, **kwargs):
        count[0] += 1
        return lnprobfn(*args, **kwargs)

    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit_model(
            dict(obs), kind(model_params(zred=zred)), sps, lnprobfn=counted,
            nested_sample="rwalk", nested_walks=walks, nested_nlive_init=calls // 2,
            nested_maxcall_init=calls // 2, nested_maxcall=calls, nested_maxbatch=0,
            print_progress=False, verbose=False,
        )  # fmt: skip
    return (time.perf_counter() - start) / count[0], count[0]


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("emulator", help="bundled name or file")
    parser.add_argument("--walks", type=int, nargs="+", default=[25, 50])
    parser.add_argument("--nlive", type=int, default=2000)
    parser.add_argument("--dlogz", type=float, default=0.02)
    parser.add_argument("--zred", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--n-effective", type=int, help="a further fit, with batches up to this")
    parser.add_argument("--exact", metavar="TABLES", help="a further fit, with ExactSPS")
    parser.add_argument("--fsps", action="store_true", help="Prospector's loop with FSPS, too")
    parser.add_argument("--calls", type=int, default=2000, help="calls of Prospector's own loop")
    args = parser.parse_args()

    from prospect.models import SpecModel

    from prospect_emu import EmulatorSpecModel
    from prospect_emu.fit.posterior import BatchedPosterior
    from prospect_emu.networks.loading import load_emulator

    emulator = load_emulator(args.emulator)
    obs, model, sps = mock_galaxy(emulator, args.zred, args.seed)
    posterior = BatchedPosterior(model, obs, sps)
    print(f"{sps.emulator}, {posterior.ndim} free parameters, nlive {args.nlive}")
    for name, value in batch_costs(posterior).items():
        print(f"  {name:22s} {value:7.2f} us per vector, batches of 256")

    head = (
        "walks", "wall s", "like s", "prior s", "other s", "over %", "ncall", "evals", "us/eval",
        "n_eff", "logZ",
    )  # fmt: skip
    print(f"\n{'fit':14s}" + "".join(f"{h:>10s}" for h in head))

    def measure(name, source, walks, n_effective=1):
        settings = args.nlive, walks, args.seed, args.dlogz, n_effective
        d, (logz, error) = lockstep(source.inflate(obs), model, source, *settings)
        # Overhead: all but the likelihood, relative to it.
        over = 100 * (d["wall"] / d["seconds_likelihood"] - 1)
        print(
            f"{name:14s}{walks:10d}{d['wall']:10.1f}{d['seconds_likelihood']:10.1f}"
            f"{d['seconds_prior']:10.1f}{d['seconds_overhead']:10.1f}{over:10.0f}"
            f"{d['n_call']:10d}{d['n_evaluations']:10d}"
            f"{d['wall'] / d['n_evaluations'] * 1e6:10.2f}{d['n_effective']:10.0f}"
            f"  {logz:.2f} +- {error:.2f}",
            flush=True,
        )
        return d

    fits = {walks: measure("emulator", sps, walks) for walks in args.walks}
    if args.n_effective:
        measure("dynamic", sps, args.walks[0], args.n_effective)
    if args.exact:
        from prospect_emu import EmulatorSPS
        from prospect_emu.training.engines import exact_emulator

        exact = EmulatorSPS(exact_emulator(args.exact, obs["filters"]), obs["filters"])
        measure("ExactSPS", exact, args.walks[0])
    if not args.calls:
        return
    print("\nprospect.fitting.fit_model as it comes, same emulator as a drop-in, or FSPS:")
    walks, fit = next(iter(fits.items()))
    ways = [("EmulatorSpecModel", EmulatorSpecModel, sps), ("SpecModel", SpecModel, sps)]
    if args.fsps:
        from prospect_emu.training.generate import FSPSPhotometry
        from prospect_emu.training.recipe import Recipe

        bands = tuple(f.name for f in obs["filters"])
        compute = FSPSPhotometry(Recipe(filters=bands, quadrature="sedpy"))
        vector = sps.theta_from_params(model.params)
        for logzsol in np.linspace(-1.9, 0.1, 20):  # FSPS makes its simple populations once
            vector[sps.emulator.index("logzsol")] = logzsol
            compute(vector)
        source = compute.sps
        ways.append(("SpecModel, FSPS", SpecModel, source))
    for name, kind, source in ways:
        each, n = prospector(obs, kind, source, args.calls, walks, args.zred)
        total = each * fit["n_evaluations"]
        print(
            f"  {name:18s} {each * 1e6:8.0f} us per call over {n} calls -> "
            f"{total / 3600:.2f} h for as many calls: {total / fit['wall']:.0f} times longer"
        )


if __name__ == "__main__":
    main()
