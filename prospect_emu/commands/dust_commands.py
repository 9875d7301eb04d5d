"""`prospect-emu dust`: emission spectra, photometry and their inversion.

The work is in `dust`, `dust_inverse` and `dust_tables`, imported when a command runs.
"""

import argparse
from pathlib import Path

_PARAMETERS = "the columns U, tau and a_min (units: none, yr, nm, or what the columns say)"


def register_dust(subparsers):
    """Add ``prospect-emu dust``."""
    p = subparsers.add_parser(
        "dust",
        help="dust emission: spectrum, photometry, and their inversion",
        description=(
            "Emission of THEMIS dust for a starlight intensity U, the age tau of the burst that "
            "shines it and a minimum grain size a_min, by a neural emulator; and back."
        ),
    )
    actions = p.add_subparsers(dest="action", required=True, metavar="ACTION")
    p = actions.add_parser(
        "spectrum",
        help="emission over wavelength",
        description="Emission in W/Hz per kg of dust at the emulator's wavelengths.",
    )
    _forward(p, bands=False)
    p = actions.add_parser(
        "photometry",
        help="emission in the bands of infrared instruments",
        description=(
            "Monochromatic emission in W/Hz per kg of dust as the instruments quote it, each "
            "with its own colour convention."
        ),
    )
    _forward(p, bands=True)
    p.add_argument("--bands", nargs="+", metavar="BAND", help="default: all")
    p.add_argument("--list", action="store_true", help="list the bands and their conventions")
    _register_invert(actions)


def _common(p, mass):
    p.add_argument("--mass", type=float, metavar="MSUN", help=mass)
    p.add_argument("--distance", type=float, metavar="MPC", help="its distance in Mpc")
    name = "bundled name or file of a dust emulator (%(default)s)"
    p.add_argument("--emulator", default="themis", help=name)
    p.add_argument("--overwrite", action="store_true", help="replace existing output")


def _forward(p, bands):
    table = f"ECSV, FITS or CSV with one model per row and {_PARAMETERS}"
    p.add_argument("table", nargs="?", type=Path, metavar="TABLE", help=table)
    p.add_argument("--U", type=float, nargs="+", help="starlight intensity")
    p.add_argument("--tau", type=float, nargs="+", help="age of the burst in years")
    p.add_argument("--a-min", type=float, nargs="+", help="minimum grain size in nm")
    out = ".ecsv or .csv, .fits, or .png for a figure (default: ECSV on standard output)"
    p.add_argument("--out", type=Path, metavar="FILE", help=out)
    _common(p, "give fluxes in Jy of this dust mass in solar masses")
    p.set_defaults(run=_photometry if bands else _spectrum)


def _register_invert(actions):
    p = actions.add_parser(
        "invert",
        help="from a spectrum or bands to U, tau and a_min",
        description=(
            "Reads a table with the columns band or wavelength (micron), luminosity (W/Hz/kg) or "
            "flux (Jy), and error; estimates U, tau and a_min."
        ),
    )
    p.add_argument("table", type=Path, metavar="TABLE", help="ECSV, FITS or CSV, one row per point")
    method = (
        "nested sampling through the emulator, or one pass of an inverse network, which "
        "needs a known mass (%(default)s)"
    )
    methods = {"choices": ("posterior", "network"), "default": "posterior"}
    p.add_argument("--method", help=method, **methods)
    free = "the dust mass is not known; with --distance, or luminosities, it is inferred"
    p.add_argument("--free-mass", action="store_true", help=free)
    p.add_argument("--seed", type=_seed, help="random seed (0)")
    p.add_argument("--max-seconds", type=float, metavar="S", help="budget of wall time")
    p.add_argument("--out", type=Path, metavar="FILE", help="write the summary here (.ecsv, .fits)")
    p.add_argument("--samples", type=Path, metavar="FILE", help="write posterior samples here")
    p.add_argument("--corner", type=Path, metavar="PNG", help="draw the posterior here")
    p.add_argument("--quiet", action="store_true", help="no progress on standard error")
    _common(p, "dust mass in solar masses, where the table holds fluxes")
    p.set_defaults(run=_invert)


def _seed(text):
    value = int(text)
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text} is negative")
    return value


def _models(args):
    """U, tau and a_min of the models asked for, each (n,)."""
    import numpy as np

    from ..errors import DataError

    given = (args.U, args.tau, args.a_min)
    if args.table is not None:
        if any(v is not None for v in given):
            raise DataError("Give a table, or --U, --tau and --a-min, and not both.")
        from ..dust.dust_tables import read_parameters

        return read_parameters(args.table)
    if any(v is None for v in given):
        raise DataError("Give a table of models, or all of --U, --tau and --a-min.")
    try:
        return np.broadcast_arrays(*(np.atleast_1d(np.asarray(v, float)) for v in given))
    except ValueError as err:
        raise DataError(
            f"--U, --tau and --a-min have {', '.join(str(len(v)) for v in given)} values; give one "
            "or equally many of each."
        ) from err


def _scale(args):
    """Factor from W/Hz/kg to the unit of the output or the table, and its name."""
    from ..dust.dust_emulator import LUMINOSITY_UNIT, flux_density
    from ..errors import DataError

    if args.mass is None and args.distance is None:
        return 1.0, LUMINOSITY_UNIT
    if args.mass is None or args.distance is None:
        raise DataError("A flux needs both --mass and --distance.")
    if not all(0 < v < float("inf") for v in (args.mass, args.distance)):
        raise DataError("--mass and --distance must be positive.")
    return float(flux_density(1.0, args.mass, args.distance)), "Jy"


def _solar_mass(args, unit):
    """What a solar mass of dust adds to emission in W/Hz/kg, in the table's unit; None: unknown."""
    from ..dust.dust_emulator import SOLAR_MASS, flux_density
    from ..errors import DataError

    if args.mass is not None:
        raise DataError("--free-mass infers the dust mass from the data; leave --mass out.")
    if args.distance is None:
        return SOLAR_MASS if unit == "W/Hz" else None
    if unit != "Jy":
        raise DataError(f"--distance is for fluxes, and {args.table} holds luminosities.")
    if not 0 < args.distance < float("inf"):
        raise DataError("--distance must be positive.")
    return float(flux_density(1.0, 1.0, args.distance))


def _write(table, path, overwrite):
    if path is None:
        print(table.ecsv(), end="")
    else:
        table.write(path, overwrite)


def _check_out(*paths, overwrite):
    from ..dust.dust_output import check_format
    from ..files import check_writable

    for path, kinds in paths:
        if path is not None:
            check_format(path, kinds)
            check_writable(path, overwrite)


def _spectrum(args):
    from ..dust.dust_emulator import load_dust_emulator
    from ..dust.dust_output import spectrum_table

    models, (scale, unit) = _asked(args)
    emulator = load_dust_emulator(args.emulator)
    if not _drawn(args, emulator, models, scale, unit):
        emission = emulator.spectrum(*models) * scale
        rows = args.out is not None and args.out.suffix == ".fits"
        table = spectrum_table(emulator, models, emission, unit, rows)
        _write(table, args.out, args.overwrite)


def _photometry(args):
    from ..dust.dust_emulator import load_dust_emulator
    from ..dust.dust_output import band_list, photometry_table

    emulator = load_dust_emulator(args.emulator)
    if args.list:
        print(band_list(emulator).text())
        return
    models, (scale, unit) = _asked(args)
    if args.bands is not None:
        emulator = emulator.select(args.bands)
    emission = emulator.photometry(*models) * scale
    points = emulator.band_wavelengths, emission
    if not _drawn(args, emulator, models, scale, unit, points):
        table = photometry_table(emulator, models, emission, unit)
        _write(table, args.out, args.overwrite)


def _asked(args):
    models = _models(args)
    _check_out((args.out, "table png"), overwrite=args.overwrite)
    return models, _scale(args)


def _drawn(args, emulator, models, scale, unit, points=None):
    """Whether the output is a figure, which then is written."""
    if args.out is None or args.out.suffix != ".png":
        return False
    from ..dust.dust_plots import spectrum_figure
    from ..files import save_figure

    lines = emulator.spectrum(*models) * scale
    save_figure(spectrum_figure(emulator.wavelengths, lines, models, unit, points), args.out)
    return True


def _invert(args):
    from ..dust.dust_emulator import load_dust_emulator
    from ..dust.dust_inverse import observe, posterior
    from ..dust.dust_network import estimate
    from ..dust.dust_output import estimate_table, samples_table, summary_table
    from ..dust.dust_tables import read_emission
    from ..errors import DataError

    outputs = ((args.out, "table"), (args.samples, "table"), (args.corner, "png"))
    _check_out(*outputs, overwrite=args.overwrite)
    sampled = (args.free_mass, args.samples, args.corner, args.seed is not None, args.max_seconds)
    if args.method == "network" and any(sampled):
        raise DataError(
            "The inverse network knows neither a free mass nor samples, seed or budget; use "
            "--method posterior."
        )
    emulator = load_dust_emulator(args.emulator)
    seen = None if args.free_mass else _scale(args)
    values, errors, where, unit = read_emission(args.table, seen)
    solar = _solar_mass(args, unit) if args.free_mass else None
    observation = observe(emulator, values, errors, **where, free_mass=args.free_mass)
    if args.method == "network":
        table = estimate_table(*estimate(emulator, values, errors, **where))
    else:
        result = posterior(
            observation, seed=args.seed or 0, progress=not args.quiet, max_seconds=args.max_seconds
        )
        table = summary_table(result, len(values), solar)
        if args.samples is not None:
            _write(samples_table(result, solar), args.samples, args.overwrite)
        if args.corner is not None:
            from ..dust.dust_plots import corner_figure
            from ..files import save_figure

            save_figure(corner_figure(result), args.corner)
    if args.out is not None:
        _write(table, args.out, args.overwrite)
    print(table.text())
    if "chi2" in table.meta:
        print("chi2 {chi2:.3g} of {points} points, {status}".format(**table.meta))
