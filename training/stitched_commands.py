"""`prospect-emu train-stitched`; imports what is heavy only to run."""

from pathlib import Path

from .commands import need_torch


def register_train_stitched(subparsers):
    """Add ``prospect-emu train-stitched``."""
    p = subparsers.add_parser(
        "train-stitched",
        help="train networks for six redshift domains and stitch them into one",
        description=(
            "Trains a network for each of six overlapping redshift domains on samples "
            "of a factored emulator (needs torch), measures the errors of the whole on FSPS "
            "samples over 0.01 < z < 12 (needs python-fsps and SPS_HOME), and writes one "
            "emulator file. Each domain resumes where a killed run stopped."
        ),
    )
    p.add_argument("work", type=Path, help="folder for samples and checkpoints")
    p.add_argument("--out", type=Path, required=True, help="emulator file to write (.safetensors)")
    p.add_argument("--name", help="name of the emulator (default: the file's)")
    p.add_argument("--label", help="what to call FSPS's libraries, where its own names mislead")
    p.add_argument(
        "--source",
        default="mathews23-factored",
        metavar="EMULATOR",
        help="factored emulator that makes the training samples (%(default)s)",
    )
    p.add_argument(
        "--train", type=int, default=2_097_152, help="training samples per domain (%(default)s)"
    )
    p.add_argument("--epochs", type=int, default=100, help="of 262,144 samples each (%(default)s)")
    p.add_argument("--test", type=int, default=10_000, help="test samples (%(default)s)")
    p.add_argument("--width", type=int, default=256, help="nodes per hidden layer (%(default)s)")
    p.add_argument("--depth", type=int, default=5, help="hidden layers (%(default)s)")
    p.add_argument("--workers", type=int, help="FSPS processes (default: one per core)")
    p.add_argument("--overwrite", action="store_true", help="replace an existing emulator file")
    p.set_defaults(run=_train_stitched)


def _train_stitched(args):
    from prospect_emu.emulator import load_emulator
    from prospect_emu.files import check_writable

    need_torch()
    from .evaluate import band_table, summary
    from .generate import generate
    from .recipe import Recipe
    from .stitched import DOMAINS, train_stitched
    from .train import Settings, long_schedule

    check_writable(args.out, args.overwrite)
    recipe = Recipe(zred_range=(DOMAINS[0][0], DOMAINS[-1][1]))
    source = load_emulator(args.source)
    test_store = generate(recipe, args.work / "test", args.test, "test", args.workers)
    settings = Settings(args.width, args.depth, **long_schedule(args.epochs))
    emulator = train_stitched(
        source, args.train, test_store, settings, args.name or args.out.stem, args.work, args.label
    )
    emulator.save(args.out)
    test = test_store.load()
    print(summary(band_table(emulator, test["theta"], test["maggies"])))
    print(f"Wrote {args.out}")
