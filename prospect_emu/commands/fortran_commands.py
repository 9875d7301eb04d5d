"""`prospect-emu export`: an emulator as Fortran source. The work is in `fortran`."""

from pathlib import Path


def register_export(subparsers):
    """Add ``prospect-emu export``."""
    p = subparsers.add_parser(
        "export",
        help="write an emulator as Fortran source",
        description=(
            "Writes a Fortran 2008 module with single and batched calls, its weights, a Makefile "
            "and an example program."
        ),
    )
    p.add_argument("emulator", help="bundled name or file of any galaxy or dust emulator")
    p.add_argument("--fortran", action="store_true", required=True, help="the language")
    p.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder to write into")
    p.add_argument("--bands", nargs="+", metavar="BAND", help="default: all")
    p.add_argument("--overwrite", action="store_true", help="replace existing files")
    p.set_defaults(run=_export)


def _export(args):
    from ..export.fortran import export_fortran, load_any

    emulator = load_any(args.emulator)
    if args.bands:
        emulator = emulator.select(args.bands)
    written = export_fortran(emulator, args.out, args.overwrite)
    print(f"Wrote {', '.join(p.name for p in written)} into {args.out}; make example compiles it.")
