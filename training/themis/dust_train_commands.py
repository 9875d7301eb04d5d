"""`prospect-emu train dust`: grid, test set, network, inverse and report of the dust emulator."""

from pathlib import Path

from prospect_emu.commands.cli import positive

from .. import need


def register_dust(subparsers, name):
    """Add the command `name`."""
    p = subparsers.add_parser(
        name,
        help="compute a grid of dust emission, train networks on it, and report",
        description=(
            "Computes the emission of DustEM-format grains heated by starlight (needs numba), "
            "trains the dust emulator (needs torch) and measures it. Each step resumes where a "
            "killed run stopped."
        ),
    )
    steps = p.add_subparsers(dest="step", required=True, metavar="STEP")

    p = steps.add_parser("grid", help="emission on a grid of U, tau and a_min")
    _engine(p)
    axes = {"nargs": 3, "default": (91, 51, 51), "metavar": ("U", "TAU", "AMIN")}
    p.add_argument("--shape", type=positive, help="nodes per parameter (91 51 51)", **axes)
    p.set_defaults(run=lambda args: _make(args, "grid", tuple(args.shape), 0))

    p = steps.add_parser("random", help="emission of random models, for tests or training")
    _engine(p)
    p.add_argument("--fields", type=positive, default=2000, help="random U and tau (%(default)s)")
    p.add_argument(
        "--per-field", type=positive, default=4, help="random a_min for each (%(default)s)"
    )
    p.add_argument("--seed", type=int, default=8000, help="random seed (%(default)s)")
    p.set_defaults(run=lambda a: _make(a, "random", (a.fields, a.per_field), a.seed))

    p = steps.add_parser("network", help="make the network of spectrum and bands from a grid")
    p.add_argument("grid", type=Path, help="folder of the grid")
    _measured(p)
    p.add_argument("--out", type=Path, required=True, help="emulator file to write")
    axes = {"nargs": 4, "metavar": ("U", "TAU", "AMIN", "WAVE")}
    p.add_argument("--ranks", type=positive, help="singular vectors per axis (40 10 40 80)", **axes)
    share = "share of the variance that products left out may hold (%(default)s)"
    p.add_argument("--negligible", type=float, default=1e-7, help=share)
    p.add_argument("--overwrite", action="store_true", help="replace an existing file")
    p.set_defaults(run=_train)

    p = steps.add_parser("inverse", help="train the inverse networks and put them into an emulator")
    p.add_argument("emulator", type=Path, help="dust emulator file, which is replaced")
    which = {"choices": ("bands", "spectrum", "both"), "default": "both"}
    p.add_argument("--of", help="which one (%(default)s)", **which)
    p.add_argument("--quiet", action="store_true")
    p.set_defaults(run=_train_inverse)

    p = steps.add_parser("report", help="accuracy and time of an emulator, table and figures")
    p.add_argument("emulator", help="bundled name or file of a dust emulator")
    p.add_argument("--grid", type=Path, required=True, help="folder of the grid")
    _measured(p)
    _inputs(p)
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the report")
    p.set_defaults(run=_evaluate)


def _measured(p):
    p.add_argument("--test", type=Path, required=True, help="folder of random models")
    p.add_argument("--filters", type=Path, required=True, help="folder of curves sedpy lacks")


def _inputs(p):
    files = "folder with LAMBDA.DAT, GRAIN_J13.DAT, Q_*.DAT and C_*.DAT"
    p.add_argument("--dust", type=Path, required=True, metavar="DIR", help=files)
    field = "stellar fields by age: wave_um, log_age_51, four_pi_jnu_51"
    p.add_argument("--field", type=Path, required=True, metavar="NPZ", help=field)


def _engine(p):
    p.add_argument("work", type=Path, help="folder for the shards")
    _inputs(p)
    p.add_argument("--small", type=float, default=0.032, help="step in ln(a) below 12 nm")
    p.add_argument("--large", type=float, default=0.1, help="step in ln(a) above 12 nm")
    p.add_argument("--n-wave", type=positive, default=481, help="wavelengths (%(default)s)")
    p.add_argument("--threads", type=positive, default=1, help="fields at a time (%(default)s)")
    p.add_argument("--quiet", action="store_true", help="no progress on standard error")


def _make(args, kind, shape, seed):
    need("numba", "The dust engine")
    from . import dust_grid
    from .dust_engine import Resolution

    resolution = Resolution(small=args.small, large=args.large)
    recipe = dust_grid.GridRecipe(kind, shape, seed, args.n_wave, resolution=resolution)
    store = dust_grid.make(
        recipe, args.work, args.dust, args.field, args.threads, progress=not args.quiet
    )
    print(f"{args.work} is complete: {recipe.n_shards} shards, {store.wave.size} wavelengths.")


def _train(args):
    from prospect_emu.files import check_writable

    from . import dust_train
    from .dust_bands import bands_for
    from .dust_grid import DustStore
    from .dust_report import measured, summary

    check_writable(args.out, args.overwrite)
    grid, test = DustStore.open(args.grid), DustStore.open(args.test)
    matrix, bands = bands_for(grid.wave, args.filters)
    ranks = args.ranks or dust_train.RANKS
    emulator = dust_train.train_dust(
        grid, matrix, bands, args.out.stem, provenance(grid, test), ranks, args.negligible
    )
    emulator, figures = measured(emulator, test, matrix)
    emulator.save(args.out)
    print(summary(figures))
    print(f"Wrote {args.out}")


def provenance(grid, test):
    """What a dust emulator's manifest says of the emission it was made of and tested on."""
    first = grid.manifest
    keys = ("dust_model", "dust_to_hydrogen", "field", "inputs", "versions")
    stores = (("grid", grid), ("test_set", test))
    samples = {k: {"recipe": s.manifest["recipe"], "fingerprint": s.fingerprint} for k, s in stores}
    return {**{k: first[k] for k in keys}, **samples}


def _train_inverse(args):
    import dataclasses

    from prospect_emu.dust.dust_emulator import load_dust_emulator

    need("torch", "Training")
    from .dust_inverse_train import train_inverse

    for kind, part in (("bands", "inverse"), ("spectrum", "spectrum_inverse")):
        if args.of not in (kind, "both"):
            continue
        emulator = load_dust_emulator(args.emulator)
        checkpoint = args.emulator.with_suffix(f".{part}.safetensors")
        net, described = train_inverse(
            emulator, checkpoint, kind == "spectrum", progress=not args.quiet
        )
        manifest = {**emulator.manifest, part: described}
        dataclasses.replace(emulator, manifest=manifest, **{part: net}).save(args.emulator)
        print(f"Wrote {args.emulator}")


def _evaluate(args):
    from prospect_emu.dust.dust_emulator import load_dust_emulator

    from .dust_grid import DustStore
    from .dust_report import report

    emulator = load_dust_emulator(args.emulator)
    stores = DustStore.open(args.grid), DustStore.open(args.test)
    print(report(emulator, *stores, args.dust, args.field, args.filters, args.out))
