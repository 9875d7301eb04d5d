"""`prospect-emu train` and `evaluate`.

The command line finds these through the entry-point group
``prospect_emu.commands``: prospect_emu itself imports nothing from here.
"""

import os
from importlib.metadata import entry_points
from pathlib import Path

from prospect_emu.commands.cli import positive

from . import need


def register_train(subparsers):
    """Add ``prospect-emu train``, with a sub-step for each kind of emulator."""
    from .themis.dust_train_commands import register_dust

    p = subparsers.add_parser(
        "train",
        help="make an emulator: network, factored, stitched or dust; or a proposal: posterior",
        description="Makes samples, trains, measures and packages an emulator. Each part resumes "
        "where a killed run stopped.",
    )
    steps = p.add_subparsers(dest="kind", required=True, metavar="KIND")
    parse = p.parse_known_args

    def parse_with_kind(args=None, namespace=None):
        # As before there were kinds: train WORKDIR [--factored].
        if args and args[0] not in (*steps.choices, "-h", "--help"):
            kind = "factored" if "--factored" in args else "network"
            args = [kind, *(a for a in args if a != "--factored")]
        return parse(args, namespace)

    setattr(p, "parse_known_args", parse_with_kind)  # noqa: B010
    _network_options(_step(
        steps,
        "network",
        "a network over one range of redshifts",
        "Makes photometry of random galaxies, trains a network on it (needs torch), and measures "
        "its errors on samples of FSPS that it has not seen (needs python-fsps and SPS_HOME).",
        _train_network,
    ), 6_000_000, " or 'fsps' for FSPS itself;")  # fmt: skip
    _step(
        steps,
        "factored",
        "FSPS's own ingredients instead of a network",
        "Packages the ingredients of the installed FSPS (nothing is trained) and measures the "
        "result on FSPS's samples (needs python-fsps and SPS_HOME).",
        _train_factored,
    )
    steps.choices["network"].add_argument(
        "--start",
        metavar="EMULATOR",
        help="go on from the weights of this network, on samples that it has not seen; with "
        "--rate 0.005 or less, and in a WORKDIR of its own",
    )
    for name in ("network", "factored"):
        p = steps.choices[name]
        p.add_argument("--distribution", choices=("fat_tailed", "prior"), default="fat_tailed")
        p.add_argument("--zmin", type=float, default=0.5, help="redshifts (%(default)s)")
        p.add_argument("--zmax", type=float, default=3.0, help="redshifts (%(default)s)")
    # The second of each as the command was called before.
    for parent, name in ((steps, "stitched"), (subparsers, "train-stitched")):
        _network_options(_step(
            parent,
            name,
            "networks for six overlapping domains of redshift, 0.01 < z < 12, as one emulator",
            "Trains a network for each of six overlapping redshift domains on samples of a "
            "factored emulator (needs torch), and measures the errors of the whole on FSPS "
            "samples over 0.01 < z < 12 (needs python-fsps and SPS_HOME).",
            _train_stitched,
        ), 2_097_152)  # fmt: skip
    for parent, name in ((steps, "dust"), (subparsers, "train-dust")):
        register_dust(parent, name)
    p = steps.add_parser(
        "errors",
        help="measure errors of networks by redshift and dust2, and write them into their files",
        description="Compares networks with the exact physics over redshift and dust2, and writes "
        "the tables of errors, which fits use, into their files, together with a network of the "
        "surviving mass that is trained anew. Prints the rms of error over stated error on other "
        "draws. Networks given together share the exact samples.",
    )
    p.add_argument("files", nargs="+", type=Path, help="emulator files, which are rewritten")
    p.add_argument(
        "--source",
        default="mathews23-factored",
        metavar="EMULATOR",
        help="factored emulator that is exact (%(default)s)",
    )
    p.add_argument("--check", action="store_true", help="print the pulls only, and write nothing")
    p.set_defaults(run=_errors)
    for entry in entry_points(group="prospect_emu.training_steps"):
        entry.load()(steps)


def _step(parent, name, about, description, run):
    """A command that makes an emulator, with what all of them take."""
    p = parent.add_parser(name, help=about, description=description)
    p.add_argument("work", type=Path, help="folder for samples and checkpoints")
    p.add_argument("--out", type=Path, required=True, help="emulator file to write (.safetensors)")
    p.add_argument("--name", help="name of the emulator (default: the file's)")
    p.add_argument("--label", help="what to call FSPS's libraries, where its own names mislead")
    p.add_argument("--test", type=positive, default=10_000, help="test samples (%(default)s)")
    p.add_argument("--workers", type=positive, help="FSPS processes (default: one per core)")
    p.add_argument("--overwrite", action="store_true", help="replace an existing emulator file")
    p.set_defaults(run=run)
    return p


def _network_options(p, n_train, or_fsps=""):
    p.add_argument(
        "--source",
        default="mathews23-factored",
        metavar="EMULATOR",
        help=f"factored emulator that makes the training samples,{or_fsps} the test set is always "
        "FSPS's (%(default)s)",
    )
    about = f"training samples{'' if or_fsps else ' per domain'} (%(default)s)"
    p.add_argument("--train", type=positive, default=n_train, help=about)
    about = "of 262,144 samples each (%(default)s)"
    p.add_argument("--epochs", type=positive, default=100, help=about)
    about = "learning rate, which falls to zero (%(default)s)"
    p.add_argument("--rate", type=float, default=0.012, help=about)
    about = "nodes per hidden layer (%(default)s)"
    p.add_argument("--width", type=positive, default=256, help=about)
    p.add_argument("--depth", type=positive, default=5, help="hidden layers (%(default)s)")


def _start(args):
    """The network that training goes on from, or None."""
    from prospect_emu.errors import ProspectEmuError
    from prospect_emu.networks.loading import load_emulator

    if args.start is None:
        return None
    start = load_emulator(args.start)
    net = getattr(start, "flux_net", None)
    hidden = () if net is None else net.widths[1:-1]
    if hidden != (args.width,) * args.depth:
        raise ProspectEmuError(
            f"--start {args.start} has hidden layers {hidden or 'of no single network'}; give "
            "--width and --depth as they are there."
        )
    return start


def _recipe(args):
    from .recipe import Recipe

    return Recipe(distribution=args.distribution, zred_range=(args.zmin, args.zmax))


def _source(args, recipe):
    """The emulator that makes the training samples, checked before FSPS makes the test set."""
    from prospect_emu.errors import ProspectEmuError
    from prospect_emu.networks.factored import FactoredEmulator
    from prospect_emu.networks.loading import load_emulator

    need("torch", "Training")
    from .folded_samples import check_source

    source = check_source(load_emulator(args.source), *recipe.zred_range)
    if not isinstance(source, FactoredEmulator):
        raise ProspectEmuError(
            f"--source {args.source} is a network, with errors of its own that would be learnt; "
            "give a factored emulator, such as mathews23-factored."
        )
    return source


def _train_network(args):
    recipe = _recipe(args)
    need("torch", "Training")
    source, start = None if args.source == "fsps" else _source(args, recipe), _start(args)
    from .packaging import train_emulator
    from .train import FixedSamples

    def network(test_store, name):
        if source is None:
            from .generate import generate

            data = generate(recipe, args.work / "train", args.train, "train", args.workers).load()
            described = {"source": "python-fsps", "samples": len(data["theta"])}
            samples = FixedSamples(data["theta"], data["maggies"])
            mfrac = data["theta"], data["mfrac"]
        else:
            from .folded_samples import folded_samples

            seen = 0 if start is None else start.manifest["training"].get("redshifts", 0)
            made = recipe, source, args.work / "folded", args.train
            samples, described = folded_samples(*made, seen)
            mfrac = samples.mfrac()
        made = samples, mfrac, test_store, _settings(args), name, args.work, described, args.label
        return train_emulator(*made, start)

    _make(args, recipe, network)


def _train_factored(args):
    def factored(test_store, name):
        need("torch", "A factored emulator")
        from .factored_tables import build, ingredients_of

        return build(ingredients_of(test_store, args.label), test_store, name, args.label)

    _make(args, _recipe(args), factored)


def _train_stitched(args):
    from .recipe import Recipe
    from .stitch_training import DOMAINS, train_stitched

    recipe = Recipe(zred_range=(DOMAINS[0][0], DOMAINS[-1][1]))
    source = _source(args, recipe)

    def stitched(test_store, name):
        settings = _settings(args)
        return train_stitched(source, args.train, test_store, settings, name, args.work, args.label)

    _make(args, recipe, stitched)


def _errors(args):
    from prospect_emu.networks.loading import load_emulator

    from . import network_errors as errors

    made = [load_emulator(path) for path in args.files]
    exact = load_emulator(args.source)
    if not args.check:
        need("torch", "The network of the surviving mass")
        made = errors.with_errors(made, exact)
        for path, emulator in zip(args.files, made, strict=True):
            emulator.save(path)
            print(f"Wrote {path}")
    for distribution in ("fat_tailed", "prior"):
        found = errors.pulls(made, exact, distribution)
        for emulator, rms in zip(made, found, strict=True):
            print(f"\n{emulator.name}, draws {distribution.replace('_', ' ')}\n")
            print("\n".join(errors.pull_lines(rms)))
    for emulator in made:
        mass = errors.surviving_mass(emulator, exact)
        print(f"{emulator.name}: " + ", ".join(f"{k} {v:.2g}" for k, v in mass.items()))


def _settings(args):
    from .train import Settings, long_schedule

    return Settings(args.width, args.depth, **long_schedule(args.epochs, rate=args.rate))


def _make(args, recipe, trained):
    """Make the test set, then ``trained(test_store, name)``; write it and say its errors."""
    from prospect_emu.errors import ProspectEmuError
    from prospect_emu.files import check_writable

    from .evaluate import LEAST, Residuals
    from .generate import generate

    if args.test < LEAST:
        raise ProspectEmuError(f"--test {args.test} tells no errors; give {LEAST} or more.")
    check_writable(args.out, args.overwrite)
    test_store = generate(recipe, args.work / "test", args.test, "test", args.workers)
    emulator = trained(test_store, args.name or args.out.stem)
    emulator.save(args.out)
    test = test_store.load()
    print(Residuals.of(emulator, test["theta"], test["maggies"]))
    print(f"Wrote {args.out}")


def register_evaluate(subparsers):
    """Add ``prospect-emu evaluate``."""
    p = subparsers.add_parser(
        "evaluate",
        help="compare emulators with FSPS samples",
        description=(
            "Bias, standard deviation and quantiles of emulator minus FSPS per band (arsinh mag), "
            "and, with --report, a page with figures of that, of its distribution, of precision "
            "and time against width, and which width is good enough."
        ),
    )
    p.add_argument(
        "emulators", nargs="+", metavar="emulator", help="bundled name or path of a file"
    )
    p.add_argument("samples", type=Path, help="folder of FSPS samples made by `train`")
    p.add_argument("--out", type=Path, help="write the table of one emulator here as ECSV")
    p.add_argument("--report", type=Path, metavar="FOLDER", help="write report.md and figures here")
    p.add_argument(
        "--floor",
        type=float,
        default=0.05,
        metavar="ERROR",
        help="report: relative observational error to be good enough for (%(default)s)",
    )
    p.add_argument("--fsps", action="store_true", help="report: time FSPS, too (needs SPS_HOME)")
    p.add_argument(
        "--tables",
        type=Path,
        help="report: time ExactSPS with these tables, too (default: $PROSPECT_EMU_TABLES)",
    )
    p.add_argument("--overwrite", action="store_true", help="replace an existing table or report")
    p.set_defaults(run=_evaluate)


def _evaluate(args):
    from prospect_emu.errors import ProspectEmuError
    from prospect_emu.files import check_writable

    from . import evaluation_report as report

    if args.out is not None:
        if len(args.emulators) > 1:
            raise ProspectEmuError("--out takes the table of one emulator; use --report FOLDER.")
        check_writable(args.out, args.overwrite)
    if args.report is not None:
        if not 0.0 < args.floor < 1.0:
            raise ProspectEmuError(f"--floor {args.floor} is not a relative error; 0.05 means 5 %.")
        check_writable(args.report / report.PAGE, args.overwrite)
    tables = args.tables or os.environ.get("PROSPECT_EMU_TABLES")
    if args.report is not None and tables:
        need("torch", "ExactSPS")
    scored, store = report.evaluate(args.emulators, args.samples)
    for s in scored:
        if args.report is None:
            shown = s.residuals.table
            for name in shown.colnames[1:]:
                shown[name].info.format = ".2g"
            shown.pprint_all()
        print(f"{s.label}: {len(s.theta)} samples, {s.residuals}")
    if args.out is not None:
        table = scored[0].residuals.table
        table.write(args.out, format="ascii.ecsv", overwrite=args.overwrite)
    if args.report is not None:
        seconds = report.time_all(scored, store, tables, args.fsps)
        written = scored, store, seconds, args.report, args.floor, args.overwrite
        print(report.write_report(*written))
        print(f"Wrote {args.report / report.PAGE}")
