"""The command ``prospect-emu``.

A subcommand is one function ``register(subparsers)`` that adds a parser and
sets ``run`` to a function of the parsed arguments; `COMMANDS` lists ours, the
entry-point group ``prospect_emu.commands`` those of `training` and `fits`.
Imports that take time are inside the functions, so that ``--help`` does not wait.
"""

import argparse
import errno
import os
import sys
from importlib.metadata import PackageNotFoundError, entry_points, version
from pathlib import Path

from ..errors import ProspectEmuError
from . import fit_output
from .convert_commands import register_convert
from .fit_output import OUTPUTS
from .model_commands import register_describe, register_run
from .plot_commands import register_plot


def main(argv=None):
    """Run the command line.

    Returns
    -------
    int
        Exit status: 0 done, 1 `check` found a fault, 2 an error that the user
        can fix, in one sentence on stderr, 3 the fit did not converge, 130
        interrupted.
    """
    # Figures go to files; a notebook's backend, which it hands on, is not there.
    os.environ["MPLBACKEND"] = "Agg"
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by 2>&-
            setattr(sys, name, open(os.devnull, "w"))
    parser = build_parser()
    args, unknown = parser.parse_known_args(argv)
    if unknown and not getattr(args, "takes_unknown", False):
        parser.error(f"unrecognized arguments: {' '.join(unknown)}")
    args.unknown = unknown
    try:
        return args.run(args) or 0
    except ProspectEmuError as err:
        print(f"prospect-emu {args.command}: {err}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"prospect-emu {args.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, such as head, has seen enough
        sys.stderr.close()
        return 0
    except OSError as err:
        if err.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EIO):
            raise
        print(f"prospect-emu {args.command}: {err}; free space and start again.", file=sys.stderr)
        return 2


def build_parser():
    """The parser with every subcommand."""
    parser = argparse.ArgumentParser(
        prog="prospect-emu",
        description="Fit galaxies with Prospector's models, without FSPS and in batches.",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {_own_version()}")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for register in COMMANDS:
        register(subparsers)
    for entry in sorted(entry_points(group="prospect_emu.commands"), key=lambda e: e.name):
        if entry.name not in subparsers.choices:
            entry.load()(subparsers)
    return parser


# ---- fit ----------------------------------------------------------------------


def register_fit(subparsers):
    """Add ``prospect-emu fit``."""
    p = subparsers.add_parser(
        "fit",
        help="fit one galaxy: photometry in, posterior out",
        description=(
            "Fits the 18-parameter model to a table of photometry by nested sampling, with the "
            "emulator's errors added to the observed ones. Writes into the output folder: "
            f"{', '.join(OUTPUTS)}."
        ),
    )
    p.add_argument(
        "table",
        nargs="?",
        type=Path,
        metavar="TABLE",
        help="ECSV, FITS or CSV with the columns band, flux and error and one row per band "
        "(default: a bundled mock galaxy, whose truth is known)",
    )
    p.add_argument(
        "--zred", type=redshift, metavar="Z",
        help="redshift, or free to fit it (default: the table's metadata)",
    )  # fmt: skip
    p.add_argument(
        "--zred-prior", metavar="PRIOR",
        help="fit the redshift with this prior: uniform:LO,HI, normal:MEAN,SIGMA, or a table of "
        "p(z) with the columns z and p (uniform:0.01,12)",
    )  # fmt: skip
    p.add_argument(
        "--magnification", metavar="MU",
        help="of a lensed galaxy: a number, or a table with the columns z and magnification; "
        "masses and luminosities are then the source's own",
    )  # fmt: skip
    p.add_argument(
        "--unit",
        help="unit of a table that names none: mgy, uJy (or another multiple of Jy), mag (AB)",
    )
    p.add_argument(
        "--model", default="mathews23", metavar="NAME",
        help="mathews23, the 18-parameter model, or templates of Prospector joined by +, such as "
        "continuity_sfh+dust_emission+nebular (%(default)s)",
    )  # fmt: skip
    p.add_argument(
        "--emulator", help="bundled name or file, for the 18-parameter model (mathews23-factored)"
    )
    p.add_argument(
        "--spectrum", type=Path, metavar="FILE",
        help="a spectrum to fit with the photometry: a table of wavelength, flux and error, or a "
        "1-D spectrum of NIRSpec (msaexp, DJA) or SDSS; the model is then computed exactly",
    )  # fmt: skip
    p.add_argument("--spectrum-unit", metavar="UNIT", help="flux unit of a file that names none")
    p.add_argument("--wave-unit", metavar="UNIT", help="wavelength unit of a file that names none")
    p.add_argument("--air", action="store_true", default=None, help="its wavelengths are in air")
    p.add_argument(
        "--resolution", metavar="LSF",
        help="line-spread function: R=100 (lambda/FWHM), 70km/s or 2.5AA (dispersions), or a "
        "table of wavelength and R or dispersion (default: the spectrum's own column R)",
    )  # fmt: skip
    p.add_argument(
        "--degrade", action="store_true",
        help="smooth the spectrum to the library's resolution where it is sharper",
    )  # fmt: skip
    p.add_argument(
        "--spectrum-floor", type=float, default=0.0, metavar="F",
        help="fraction of the spectrum's flux added to each of its errors in quadrature (0)",
    )  # fmt: skip
    p.add_argument(
        "--polyorder", type=int, default=10, metavar="N",
        help="order of the spectrum's calibration polynomial, 0 for none (%(default)s)",
    )  # fmt: skip
    p.add_argument(
        "--lines", type=Path, metavar="FILE",
        help="fluxes of emission lines to fit too: a table of line (FSPS's names, such as Ba-alpha "
        "6563; blends joined by ' + '), flux, error and upper, true for upper limits",
    )  # fmt: skip
    p.add_argument(
        "--error-floor",
        type=float,
        default=0.05,
        metavar="F",
        help="fraction of the flux added to each error in quadrature (%(default)s)",
    )
    fit_output.add_output_options(p, "fit_<name of TABLE>")
    p.add_argument(
        "--sampler", choices=("nested", "amortised"), default="nested",
        help="nested sampling, or a learnt proposal and nested sampling where that fails "
        "(%(default)s)",
    )  # fmt: skip
    p.add_argument("--proposal", metavar="NAME", help="for --sampler amortised: a name or file")
    p.add_argument(
        "--preset", choices=("quick", "standard", "careful"), default="standard",
        help="settings of the sampler that are not given (%(default)s)",
    )  # fmt: skip
    p.add_argument("--nlive", type=positive, help="live points (2000)")
    p.add_argument("--walks", type=positive, help="steps per proposal at first (40; careful: 80)")
    p.add_argument("--dlogz", type=float, help="evidence left when sampling ends (0.3)")
    p.add_argument(
        "--n-eff", type=positive, metavar="N",
        help="weighted samples, added after that until they are reached (10000; quick: 1000)",
    )  # fmt: skip
    p.add_argument(
        "--max-error", type=float, metavar="E",
        help="repeat the run until means are known to E posterior standard deviations (0.15; quick "
        "does not repeat, careful: 0.08)",
    )  # fmt: skip
    p.add_argument(
        "--max-calls", type=positive, metavar="N", help="largest number of likelihood calls"
    )
    p.add_argument(
        "--certify", type=positive, metavar="N",
        help="compare with exact fluxes of N posterior draws (some hundred), and correct the "
        "posterior if the emulator shifted it",
    )  # fmt: skip
    p.add_argument(
        "--tables", type=Path, metavar="FILE",
        help="ExactSPS tables for --certify (default: $PROSPECT_EMU_TABLES, else a factored "
        "emulator, else FSPS)",
    )  # fmt: skip
    p.set_defaults(run=_fit)


def _fit(args):
    from ..errors import SetupError
    from ..fit import one_galaxy
    from ..observe.table_files import table_name

    free = args.zred == "free" or args.zred_prior
    exact = (
        args.model != one_galaxy.PRESET
        or args.spectrum
        or args.lines
        or (free and not args.emulator)
    )
    if args.certify and args.magnification:
        raise SetupError("A fit with a magnification has no certificate; leave out --certify.")
    if args.certify and exact:
        what = "--spectrum" if args.spectrum else f"--model {args.model}"
        if args.lines:
            what = "a fit of --lines"
        if free:
            what = "a free redshift without --emulator"
        raise SetupError(
            f"--certify belongs to the 18-parameter model; {what} is computed exactly, so leave it "
            "out."
        )
    if args.tables and not args.certify:
        raise SetupError("--tables is for --certify; give both, or leave it out.")
    if (args.sampler == "amortised") != bool(args.proposal):
        raise SetupError("--sampler amortised and --proposal belong together; give both.")
    if not exact:
        args.emulator = args.emulator or one_galaxy.DEFAULT_EMULATOR
    table = args.table or one_galaxy.mock_galaxy()
    out = args.out or Path(f"fit_{table_name(table)}")
    options = {name: getattr(args, name) for name in one_galaxy.OPTIONS}
    obs, model, sps = one_galaxy.prepare(table, **options)
    engine = _engine(args, sps) if args.certify else None
    # All input is good; before time is spent, make sure that it is not in vain.
    fit_output.prepare(out, args)
    if not args.quiet:
        used = obs["phot_mask"].sum()
        pixels = f", {obs['mask'].sum()} pixels" if args.spectrum else ""
        print(
            f"Fitting {table.name}: {used} of {len(obs['filters'])} bands{pixels}, "
            f"{'z free' if free else 'z = {:g}'.format(obs['zred'])},"
        )
        print(f"with {sps!r}.")
        for note in obs["notes"]:
            print(f"  {note}")
    settings = {
        "preset": args.preset,
        "nested_nlive_init": args.nlive,
        "nested_walks": args.walks,
        "nested_dlogz_init": args.dlogz,
        "nested_target_n_effective": args.n_eff,
        "nested_max_error": args.max_error,
        "nested_maxcall": args.max_calls,
        **({"proposal": args.proposal} if args.proposal else {}),
    }
    described = one_galaxy.describe_options(options)
    return fit_output.sample(
        args, out, obs, model, sps, engine=engine, described=described, **settings
    )


def _engine(args, sps):
    """Exact fluxes; found before the fit, so that none is missing after it."""
    from ..errors import SetupError
    from ..fit.certificate import MIN_EFFECTIVE, find_engine

    if args.certify < 2 * MIN_EFFECTIVE:
        raise SetupError(
            f"--certify {args.certify} is too few draws; give {2 * MIN_EFFECTIVE} or more."
        )
    return find_engine(sps.emulator, args.tables)


# ---- list -----------------------------------------------------------------------


def register_list(subparsers):
    """Add ``prospect-emu list``."""
    p = subparsers.add_parser(
        "list",
        help="list the emulators and ingredients, or the bands of an emulator",
        description="Lists bundled emulators and all ingredients; with a name or file, the bands "
        "of that emulator.",
    )
    p.add_argument("name", nargs="?", metavar="NAME", help="bundled name or file")
    p.set_defaults(run=_list)


def _list(args):
    from ..networks.loading import list_emulators, load_emulator
    from ..sps.ingredients import list_ingredients

    if args.name is not None:
        emulator = load_emulator(args.name)
        print(f"{'band':28s} bias_mag sigma_mag")
        rows = zip(emulator.filters, emulator.bias_mag, emulator.sigma_mag, strict=True)
        for band, bias, sigma in rows:
            print(f"{band:28s} {bias:8.1e} {sigma:9.1e}")
        return
    names = list_emulators()
    if not names:
        print("No emulator is bundled with this installation.")
    for name in names:
        print("\n".join(_describe(load_emulator(name))))
    print("ingredients of exact spectra, the first that fits is used")
    for path, manifest in list_ingredients():
        libraries = "/".join(manifest.get("libraries", ()))
        imf = manifest["parameters"].get("imf_type")
        print(f"  {manifest.get('label') or libraries}, imf_type {imf}: {path}")


def _describe(emulator):
    import numpy as np

    low, high = emulator.bounds[emulator.index("zred")]
    sigma = emulator.sigma_mag
    worst = int(np.argmax(sigma))
    return (
        emulator.name,
        f"  bands      {len(emulator.filters)}",
        f"  redshift   {low:g} to {high:g}",
        f"  sigma_mag  median {np.median(sigma):.2g}, worst {sigma[worst]:.2g} "
        f"({emulator.filters[worst]})",
        f"  libraries  {emulator.libraries}",
        f"  sha256     {emulator.manifest.get('sha256', 'none')}",
    )


# ---- check ----------------------------------------------------------------------


def register_check(subparsers):
    """Add ``prospect-emu check``."""
    p = subparsers.add_parser(
        "check",
        help="check this installation and how to fix it",
        description="Checks each part of this installation; exit status 1 if one is at fault.",
    )
    p.set_defaults(run=_check)


def _check(args):
    from .installation import FAULT, checks

    fault = False
    for item in checks():
        print(f"{item.state:6s} {item.part:20s} {item.detail}")
        if item.fix:
            print(f"{'':6s} {'':20s} -> {item.fix}")
        fault |= item.state == FAULT
    print("\nThere are problems; fix them as shown above." if fault else "\nReady to fit.")
    return int(fault)


COMMANDS = (
    register_fit, register_run, register_describe, register_plot, register_list, register_check,
    register_convert,
)  # fmt: skip


def redshift(text):
    """A number, or "free", for ``type`` of an option."""
    if text == "free":
        return text
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text} is neither a number nor free") from None


def positive(text):
    """A whole number above zero, for ``type`` of an option."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not a positive whole number")
    return int(text)


def _own_version():
    try:
        return version("prospect_emu")
    except PackageNotFoundError:
        return "(not installed)"


if __name__ == "__main__":
    sys.exit(main())
