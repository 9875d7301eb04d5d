"""`prospect-emu train-stitched`; imports what is heavy only to run."""

from .train_commands import add_training_arguments, need_torch, save_and_report


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
    add_training_arguments(p)
    p.add_argument(
        "--source",
        default="mathews23-factored",
        metavar="EMULATOR",
        help="factored emulator that makes the training samples (%(default)s)",
    )
    p.add_argument(
        "--train", type=int, default=2_097_152, help="training samples per domain (%(default)s)"
    )
    p.set_defaults(run=_train_stitched)


def _train_stitched(args):
    from prospect_emu.files import check_writable
    from prospect_emu.networks.loading import load_emulator

    need_torch()
    from .generate import generate
    from .recipe import Recipe
    from .stitch_training import DOMAINS, train_stitched
    from .train import Settings, long_schedule

    check_writable(args.out, args.overwrite)
    recipe = Recipe(zred_range=(DOMAINS[0][0], DOMAINS[-1][1]))
    source = load_emulator(args.source)
    test_store = generate(recipe, args.work / "test", args.test, "test", args.workers)
    settings = Settings(args.width, args.depth, **long_schedule(args.epochs))
    emulator = train_stitched(
        source, args.train, test_store, settings, args.name or args.out.stem, args.work, args.label
    )
    save_and_report(emulator, args.out, test_store)
