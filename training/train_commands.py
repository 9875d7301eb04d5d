"""`prospect-emu train`, `train-stitched` and `evaluate`.

The command line finds these through the entry-point group
``prospect_emu.commands``: prospect_emu itself imports nothing from here.
"""

import os
from pathlib import Path


def register_train(subparsers):
    """Add ``prospect-emu train``."""
    p = _training_command(
        subparsers,
        "train",
        "make FSPS samples, train a network on them and package an emulator",
        "Makes FSPS photometry of random galaxies (needs python-fsps and SPS_HOME), trains a "
        "network (needs torch), measures its errors on samples it has not seen, and writes one "
        "emulator file. Each part resumes where a killed run stopped.",
        6_000_000,
    )
    p.add_argument(
        "--factored",
        action="store_true",
        help="package FSPS's own ingredients instead of a network (nothing is trained)",
    )
    p.add_argument("--distribution", choices=("fat_tailed", "prior"), default="fat_tailed")
    p.add_argument("--zmin", type=float, default=0.5)
    p.add_argument("--zmax", type=float, default=3.0)
    p.set_defaults(run=_train)


def register_train_stitched(subparsers):
    """Add ``prospect-emu train-stitched``."""
    _training_command(
        subparsers,
        "train-stitched",
        "train networks for six redshift domains and stitch them into one",
        "Trains a network for each of six overlapping redshift domains on samples "
        "of a factored emulator (needs torch), measures the errors of the whole on FSPS "
        "samples over 0.01 < z < 12 (needs python-fsps and SPS_HOME), and writes one "
        "emulator file. Each domain resumes where a killed run stopped.",
        2_097_152,
    ).set_defaults(run=_train_stitched)


def _training_command(subparsers, name, about, description, n_train):
    """A command that trains networks on samples of FSPS, with what all of them take."""
    p = subparsers.add_parser(name, help=about, description=description)
    p.add_argument("work", type=Path, help="folder for samples and checkpoints")
    p.add_argument("--out", type=Path, required=True, help="emulator file to write (.safetensors)")
    p.add_argument("--name", help="name of the emulator (default: the file's)")
    p.add_argument("--label", help="what to call FSPS's libraries, where its own names mislead")
    each = " per domain" if name == "train-stitched" else ""
    fsps = "" if each else ", or 'fsps' for FSPS itself; the test set is always FSPS's"
    p.add_argument(
        "--source",
        default="mathews23-factored",
        metavar="EMULATOR",
        help=f"factored emulator that makes the training samples{fsps} (%(default)s)",
    )
    p.add_argument(
        "--train", type=int, default=n_train, help=f"training samples{each} (%(default)s)"
    )
    p.add_argument("--test", type=int, default=10_000, help="test samples (%(default)s)")
    p.add_argument("--epochs", type=int, default=100, help="of 262,144 samples each (%(default)s)")
    p.add_argument("--width", type=int, default=256, help="nodes per hidden layer (%(default)s)")
    p.add_argument("--depth", type=int, default=5, help="hidden layers (%(default)s)")
    p.add_argument("--workers", type=int, help="FSPS processes (default: one per core)")
    p.add_argument("--overwrite", action="store_true", help="replace an existing emulator file")
    return p


def need(module, for_what):
    """Raise `SetupError` unless a module of the extra ``train`` is installed."""
    from importlib import import_module

    from prospect_emu.errors import SetupError

    try:
        import_module(module)
    except ModuleNotFoundError as err:
        raise SetupError(
            f"{for_what} needs {module}, which is not installed ({err}); pip install "
            "'prospect_emu[train]'."
        ) from err


def _train(args):
    from .recipe import Recipe

    recipe = Recipe(distribution=args.distribution, zred_range=(args.zmin, args.zmax))
    _make(args, recipe, _factored if args.factored else _network)


def _train_stitched(args):
    from prospect_emu.networks.loading import load_emulator

    from .recipe import Recipe
    from .stitch_training import DOMAINS, train_stitched

    source = load_emulator(args.source)

    def stitched(args, test_store, name):
        settings = _settings(args)
        return train_stitched(source, args.train, test_store, settings, name, args.work, args.label)

    _make(args, Recipe(zred_range=(DOMAINS[0][0], DOMAINS[-1][1])), stitched)


def _make(args, recipe, trained):
    """Make the test set, then ``trained(args, test_store, name)``; write it and say its errors."""
    from prospect_emu.files import check_writable

    need("torch", "Training")
    from .evaluate import Residuals
    from .generate import generate

    check_writable(args.out, args.overwrite)
    test_store = generate(recipe, args.work / "test", args.test, "test", args.workers)
    emulator = trained(args, test_store, args.name or args.out.stem)
    emulator.save(args.out)
    test = test_store.load()
    print(Residuals.of(emulator, test["theta"], test["maggies"]))
    print(f"Wrote {args.out}")


def _settings(args):
    from .train import Settings, long_schedule

    return Settings(args.width, args.depth, **long_schedule(args.epochs))


def _factored(args, test_store, name):
    """FSPS's tables, exported into the work folder at the first use, as an emulator."""
    from .exact_tables import export_tables
    from .factored_tables import build

    tables = args.work / "tables.safetensors"
    if not tables.exists():
        export_tables(tables)
    return build(tables, test_store, name, args.label)


def _network(args, test_store, name):
    from .train import FixedSamples, train_emulator

    recipe = test_store.recipe
    if args.source == "fsps":
        from .generate import generate

        data = generate(recipe, args.work / "train", args.train, "train", args.workers).load()
        described = {"source": "python-fsps", "samples": len(data["theta"])}
        samples = FixedSamples(data["theta"], data["maggies"])
        mfrac = data["theta"], data["mfrac"]
    else:
        from prospect_emu.networks.loading import load_emulator

        from .folded_samples import folded_samples

        source, folder = load_emulator(args.source), args.work / "folded"
        samples, described = folded_samples(recipe, source, folder, args.train)
        mfrac = samples.mfrac()
    settings = _settings(args)
    return train_emulator(
        samples, mfrac, test_store, settings, name, args.work, described, args.label
    )


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
            raise ProspectEmuError(f"--floor {args.floor} is no relative error; 0.05 means 5 %.")
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
