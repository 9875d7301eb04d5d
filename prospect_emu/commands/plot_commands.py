"""`prospect-emu plot`: figures and pages of results, from their files."""

from pathlib import Path

from .fit_output import FIGURES


def register_plot(subparsers):
    """Add ``prospect-emu plot``."""
    p = subparsers.add_parser(
        "plot",
        help="figures of results, from their files",
        description="Draws the figures of fits from their HDF5 files, as PNG or PDF, or one HTML "
        "page for each, which holds figures and numbers.",
    )
    p.add_argument(
        "results", nargs="+", type=Path, metavar="RESULT", help="posterior.h5 of a fit, or its "
        "folder",
    )  # fmt: skip
    p.add_argument("--out", type=Path, metavar="DIR", help="folder (that of each result)")
    p.add_argument("--format", choices=("png", "pdf", "html"), default="png", help="(%(default)s)")
    p.add_argument(
        "--figures", nargs="+", choices=FIGURES, default=FIGURES, metavar="NAME",
        help=f"which figures: {', '.join(FIGURES)} (all)",
    )  # fmt: skip
    p.add_argument(
        "--parameters", nargs="+", metavar="NAME",
        help="of the corner plot: free parameters and derived quantities, as summary.ecsv names "
        "them (all free parameters)",
    )  # fmt: skip
    p.add_argument("--overwrite", action="store_true", help="replace existing files")
    p.set_defaults(run=_plot)


def _plot(args):
    from ..files import check_writable, write_atomic
    from ..fit.page import page, write_figures
    from ..fit.result import FitResult

    for path in args.results:
        file = path / "posterior.h5" if path.is_dir() else path
        # posterior.h5 is called so in every folder: the folder's name tells more.
        name = file.parent.resolve().name if file.stem == "posterior" else file.stem
        folder = args.out or file.parent
        stem = "" if args.out is None and file.stem == "posterior" else f"{name}-"
        result = FitResult.read(file)
        if args.format == "html":
            target = folder / f"{name}.html"
            check_writable(target, args.overwrite)
            write_atomic(target, page(result, name, args.parameters).encode())
            print(target)
            continue
        for figure in args.figures:
            check_writable(folder / f"{stem}{figure}.{args.format}", args.overwrite)
        written = write_figures(result, folder, stem, args.format, args.figures, args.parameters)
        for path in written:
            print(path)
