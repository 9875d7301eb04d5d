"""`prospect-emu convert`: networks of other programs as files of ours."""

from pathlib import Path


def register_convert(subparsers):
    """Add ``prospect-emu convert``."""
    p = subparsers.add_parser(
        "convert",
        help="convert a network of Parrot or Speculator into a file of ours",
        description="Reads a network of Parrot (.npy), single or stitched, or of Speculator (.pkl) "
        "without executing anything in it. Of Parrot's an emulator for fits and campaigns is made.",
    )
    p.add_argument("file", type=Path, metavar="NETWORK")
    p.add_argument("--out", type=Path, metavar="FILE", help="default: NETWORK.safetensors")
    p.add_argument("--overwrite", action="store_true", help="replace an existing file")
    p.set_defaults(run=_convert)


def _convert(args):
    from ..files import check_writable
    from ..networks.foreign import convert

    out = args.out or Path(f"{args.file.stem}.safetensors")
    check_writable(out, args.overwrite)
    emulator, notes = convert(args.file, out.stem)
    emulator.save(out)
    print(f"{out}: {emulator!r}")
    for note in notes:
        print(f"Note: {note}")
