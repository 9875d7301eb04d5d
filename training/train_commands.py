"""`prospect-emu train` and `prospect-emu evaluate`.

The command line finds these through the entry-point group
``prospect_emu.commands``: prospect_emu itself imports nothing from here.
"""

from pathlib import Path


def register_train(subparsers):
    """Add ``prospect-emu train``."""
    p = subparsers.add_parser(
        "train",
        help="make FSPS samples, train a network on them and package an emulator",
        description=(
            "Makes FSPS photometry of random galaxies (needs python-fsps and SPS_HOME), trains a "
            "network (needs torch), measures its errors on samples it has not seen, and writes one "
            "emulator file. Each part resumes where a killed run stopped."
        ),
    )
    add_training_arguments(p)
    p.add_argument(
        "--source",
        default="mathews23-factored",
        metavar="EMULATOR",
        help="factored emulator that makes the training samples, or 'fsps' for FSPS itself; the "
        "test set is always FSPS's (%(default)s)",
    )
    p.add_argument(
        "--factored",
        action="store_true",
        help="package FSPS's own ingredients instead of a network (nothing is trained)",
    )
    p.add_argument("--train", type=int, default=6_000_000, help="training samples (%(default)s)")
    p.add_argument("--distribution", choices=("fat_tailed", "prior"), default="fat_tailed")
    p.add_argument("--zmin", type=float, default=0.5)
    p.add_argument("--zmax", type=float, default=3.0)
    p.set_defaults(run=_train)


def add_training_arguments(p):
    """Arguments of every command that trains networks on samples of FSPS."""
    p.add_argument("work", type=Path, help="folder for samples and checkpoints")
    p.add_argument("--out", type=Path, required=True, help="emulator file to write (.safetensors)")
    p.add_argument("--name", help="name of the emulator (default: the file's)")
    p.add_argument("--label", help="what to call FSPS's libraries, where its own names mislead")
    p.add_argument("--epochs", type=int, default=100, help="of 262,144 samples each (%(default)s)")
    p.add_argument("--test", type=int, default=10_000, help="test samples (%(default)s)")
    p.add_argument("--width", type=int, default=256, help="nodes per hidden layer (%(default)s)")
    p.add_argument("--depth", type=int, default=5, help="hidden layers (%(default)s)")
    p.add_argument("--workers", type=int, help="FSPS processes (default: one per core)")
    p.add_argument("--overwrite", action="store_true", help="replace an existing emulator file")


def save_and_report(emulator, path, test_store):
    """Write an emulator and print its errors on the test set."""
    from .evaluate import band_table, summary

    emulator.save(path)
    test = test_store.load()
    print(summary(band_table(emulator, test["theta"], test["maggies"])))
    print(f"Wrote {path}")


def need_torch():
    """Raise `SetupError` unless torch is installed."""
    from prospect_emu.errors import SetupError

    try:
        import torch  # noqa: F401
    except ModuleNotFoundError as err:
        raise SetupError(
            f"Training needs torch, which is not installed ({err}); pip install "
            "'prospect_emu[train]'."
        ) from err


def _train(args):
    from prospect_emu.files import check_writable

    need_torch()
    from . import train
    from .generate import generate
    from .recipe import Recipe

    check_writable(args.out, args.overwrite)
    recipe = Recipe(distribution=args.distribution, zred_range=(args.zmin, args.zmax))
    test_store = generate(recipe, args.work / "test", args.test, "test", args.workers)
    name = args.name or args.out.stem
    if args.factored:
        from .factored_tables import build

        emulator = build(_tables(args), test_store, name, args.label)
    else:
        emulator = _trained(args, recipe, test_store, name, train)
    save_and_report(emulator, args.out, test_store)


def _trained(args, recipe, test_store, name, train):
    source = _fsps_source if args.source == "fsps" else _folded_source
    samples, mfrac, described = source(args, recipe)
    settings = train.Settings(args.width, args.depth, **train.long_schedule(args.epochs))
    return train.train_emulator(
        samples, mfrac, test_store, settings, name, args.work, described, args.label
    )


def _tables(args):
    """FSPS's tables in the work folder, exported at the first use."""
    from .exact_tables import export_tables

    tables = args.work / "tables.safetensors"
    return tables if tables.exists() else export_tables(tables)


def _fsps_source(args, recipe):
    from .generate import generate
    from .train import FixedSamples

    data = generate(recipe, args.work / "train", args.train, "train", args.workers).load()
    described = {"source": "python-fsps", "samples": len(data["theta"])}
    return FixedSamples(data["theta"], data["maggies"]), (data["theta"], data["mfrac"]), described


def _folded_source(args, recipe):
    from prospect_emu.networks.loading import load_emulator

    from .folded_samples import folded_samples

    folder = args.work / "folded"
    samples, described = folded_samples(recipe, load_emulator(args.source), folder, args.train)
    return samples, samples.mfrac(), described


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
    from .evaluate import summary

    if args.out is not None:
        if len(args.emulators) > 1:
            raise ProspectEmuError("--out takes the table of one emulator; use --report FOLDER.")
        check_writable(args.out, args.overwrite)
    if args.report is not None:
        if not 0.0 < args.floor < 1.0:
            raise ProspectEmuError(f"--floor {args.floor} is no relative error; 0.05 means 5 %.")
        check_writable(args.report / report.PAGE, args.overwrite)
    test = report.TestSet.read(args.samples)
    emulators = report.read_emulators(args.emulators, test)
    seconds = _time_all(args, emulators, test) if args.report is not None else {}
    scored = report.score(emulators, test)
    for s in scored:
        if args.report is None:
            shown = s.table.copy()
            for name in shown.colnames[1:]:
                shown[name].info.format = ".2g"
            shown.pprint_all()
        print(f"{s.label}: {len(test.theta)} samples, {summary(s.table)}")
    if args.out is not None:
        scored[0].table.write(args.out, format="ascii.ecsv", overwrite=args.overwrite)
    if args.report is not None:
        print(report.write_report(scored, seconds, args.report, args.floor, args.overwrite))
        print(f"Wrote {args.report / report.PAGE}")


def _time_all(args, emulators, test):
    import os

    from .evaluation_report import time_all

    tables = args.tables or os.environ.get("PROSPECT_EMU_TABLES")
    if tables:
        need_torch()
    return time_all(emulators, test, tables, args.fsps)
