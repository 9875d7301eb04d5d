"""What `prospect-emu fit` and `run` share: sampling, files, and the summary on the screen."""

import sys
from pathlib import Path

CHECKPOINT = "checkpoint.safetensors"
CHECKPOINT_EVERY = 60.0  # seconds
# Of `prospect_emu.fit.page.figures`, whose import takes time.
FIGURES = ("sed", "spectrum", "sfh", "corner")
OUTPUTS = ("posterior.h5", "summary.ecsv", *(f"{name}.png" for name in FIGURES))


def add_output_options(p, folder):
    """Options of output, budget and seed."""
    p.add_argument("--out", type=Path, metavar="DIR", help=f"output folder ({folder})")
    p.add_argument("--overwrite", action="store_true", help="replace existing output")
    p.add_argument(
        "--resume", action="store_true",
        help=f"go on with an unfinished fit, if DIR/{CHECKPOINT} is one (saved every minute)",
    )  # fmt: skip
    p.add_argument(
        "--restframe", default="", metavar="NAMES",
        help="what to derive at rest, separated by commas: magnitudes (filters, M_UV, UVJ), "
        "colours (two filters joined by -), lines ('L_Ba-alpha 6563', 'EW_[O III] 5007')",
    )  # fmt: skip
    p.add_argument("--seed", type=int, help="random seed (default: a new one, which is stored)")
    p.add_argument("--max-seconds", type=float, metavar="S", help="budget of wall time")
    p.add_argument("--quiet", action="store_true", help="no progress, no summary")


def prepare(out, args):
    """Refuse output that would be lost, before time is spent."""
    from ..files import check_writable

    resuming = check_checkpoint(out / CHECKPOINT, args)
    for name in OUTPUTS:
        check_writable(out / name, args.overwrite or resuming)


def check_checkpoint(path, args):
    """Whether there is an unfinished fit to go on with."""
    if not path.exists():
        return False
    if not (args.resume or args.overwrite):
        from ..errors import OutputError

        raise OutputError(
            f"{path} is the checkpoint of an unfinished fit; pass --resume to go on with it or "
            "--overwrite to start again."
        )
    if not args.resume:
        path.unlink()
    return args.resume


def sample(args, out, obs, model, sps, noise=(None, None), engine=None, described=None, **settings):
    """Fit, certify, write and report.

    Returns
    -------
    int
        Exit status: 0, or 3 if the fit did not converge.
    """
    import warnings

    from ..fit.fitting import fit_model
    from ..fit.restframe import RestFrame
    from ..fit.result import FitResult

    names = tuple(n.strip() for n in args.restframe.split(",") if n.strip())
    if names:
        RestFrame(model, sps, names)  # before time is spent, lest one is unknown
    with warnings.catch_warnings():
        # The status says it, and is printed.
        warnings.filterwarnings("ignore", message="The fit has not converged")
        output = fit_model(
            obs, model, sps, noise=noise, seed=args.seed, progress=not args.quiet,
            checkpoint_file=out / CHECKPOINT, checkpoint_every=CHECKPOINT_EVERY,
            max_seconds=args.max_seconds, **settings,
        )  # fmt: skip
    settings |= {"max_seconds": args.max_seconds, **(described or {})}
    result = FitResult.from_run(
        output, model, obs, sps, seed=args.seed, settings=settings, restframe=names
    )
    if engine is not None:
        name, exact = engine
        result = result.certified(exact, n=args.certify, seed=result.info["seed"], engine=name)
    written = write(result, out)
    if not args.quiet:
        report(result, out, written, len(obs.get("notes", [])))
    if result.info["status"] != "converged":
        print(
            f"prospect-emu {args.command}: the posterior is not converged "
            f"({result.info['status']}).",
            file=sys.stderr,
        )
        return 3
    return 0


def write(result, out):
    """Write the result, its summary and its figures; names of the files."""
    from ..errors import OutputError
    from ..fit.page import write_figures
    from ..observe.table_files import write_table

    result.write(out / "posterior.h5", overwrite=True)
    try:
        write_table(result.summary(), out / "summary.ecsv")
        drawn = {path.name for path in write_figures(result, out)}
    except OSError as err:
        raise OutputError(
            f"Writing into {out} failed ({err}); the posterior is in {out / 'posterior.h5'}."
        ) from err
    return [n for n in OUTPUTS if n in drawn or not n.endswith(".png")]


def report(result, out, written, told):
    """Print the summary; of the notes those after the first `told`."""
    summary = result.summary()
    if not result.truth:
        summary.remove_column("truth")
    print()
    print("\n".join(summary.pformat(max_lines=-1, max_width=-1)))
    print(f"\nln Z = {result.logz:.2f} +- {result.logz_err:.2f}")
    tried = result.info["diagnostics"].get("amortised")
    if tried is not None:
        print(f"Learnt proposal {tried['proposal']}: {tried['verdict']}, {tried['reason']}")
    p = result.photometry
    print(f"chi2 of the best sample = {p.chi2:.1f} for {p.mask.sum()} bands")
    info = result.info
    print(f"{result.n_eff:.0f} independent samples, {info['ncall']} calls, {info['seconds']:.1f} s")
    d = info["diagnostics"]
    if "seconds_likelihood" in d:
        print(
            f"Likelihood {d['seconds_likelihood']:.1f} s, prior {d['seconds_prior']:.1f} s, "
            f"sampler {d['seconds_overhead']:.1f} s"
        )
    for problem in info.get("problems", []):
        print(f"Warning: {problem}.")
    for note in info["notes"][told:]:
        print(f"Note: {note}")
    if result.certificate is not None:
        print(f"Certificate: {result.certificate}")
    inside, known = result.truth_inside()
    if known:
        print(f"{inside} of {known} true parameters lie inside their 95 % intervals")
    print(f"Status: {info['status']}. Written to {out}: {', '.join(written)}")
