"""`prospect-emu convert`: networks of other programs as files of ours."""

from pathlib import Path


def register_convert(subparsers):
    """Add ``prospect-emu convert``."""
    p = subparsers.add_parser(
        "convert",
        help="convert a Parrot network (.npy) into an emulator file",
        description="Reads a network of Parrot, single or stitched, without executing anything in "
        "it, and writes an emulator for fits and campaigns.",
    )
    p.add_argument("file", type=Path, metavar="NETWORK.npy")
    p.add_argument("--out", type=Path, metavar="FILE", help="default: NETWORK.safetensors")
    p.add_argument("--overwrite", action="store_true", help="replace an existing file")
    p.set_defaults(run=_convert)


def _convert(args):
    from ..files import check_writable
    from ..networks.foreign import convert_parrot

    out = args.out or Path(f"{args.file.stem}.safetensors")
    check_writable(out, args.overwrite)
    emulator, notes = convert_parrot(args.file, out.stem)
    emulator.save(out)
    print(f"{out}: {emulator!r}")
    for note in notes:
        print(f"Note: {note}")
