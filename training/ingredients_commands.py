"""`prospect-emu ingredients`: the exact emulator's tables from one's own FSPS."""

import json
from pathlib import Path


def register_ingredients(subparsers):
    """Add ``prospect-emu ingredients``."""
    p = subparsers.add_parser(
        "ingredients",
        help="make ingredients of the exact emulator from your own FSPS",
        description=(
            "Reads the stellar populations, gas, dust and AGN tables of the installed python-fsps "
            "(needs SPS_HOME; some ten seconds for each metallicity) into one file, and compares "
            "spectra made of it with FSPS's own. Files in the default folder are found by "
            "themselves, before the bundled ones."
        ),
    )
    p.add_argument(
        "parameters",
        nargs="*",
        metavar="NAME=VALUE",
        help="FSPS parameters of the stars, such as imf_type=0 (default: FSPS's)",
    )
    p.add_argument(
        "--dsps",
        type=Path,
        metavar="FILE.h5",
        help="a DSPS file of populations (ssp_flux, ssp_lgmet, ...) in place of python-fsps; gas, "
        "dust and AGN are the bundled ones",
    )
    p.add_argument(
        "--zsol", type=float, help="the Sun's mass fraction of metals, with --dsps (MIST: 0.0142)"
    )
    p.add_argument("--out", type=Path, help="file to write (.safetensors)")
    p.add_argument("--label", help="what to call isochrones and spectral library")
    p.add_argument("--test", type=int, default=20, help="spectra to compare (%(default)s)")
    p.add_argument("--overwrite", action="store_true", help="replace an existing file")
    p.set_defaults(run=_ingredients)


def _ingredients(args):
    from prospect_emu.errors import SetupError
    from prospect_emu.parameters import INGREDIENTS
    from prospect_emu.sps.ingredients import user_folder
    from prospect_emu.sps.installed import installed_fsps

    if args.test < 0:
        raise SetupError(f"--test {args.test} is not a number of spectra; give 0 or more.")
    if args.label is not None and not (args.label.strip() and args.label.isprintable()):
        raise SetupError(f"--label {args.label!r} is empty or not printable; give a short name.")
    if args.out is not None and args.out.suffix != ".safetensors":
        raise SetupError(
            f"{args.out} must end in .safetensors; files of other names are not found."
        )
    parameters = {}
    for text in args.parameters:
        name, _, value = text.partition("=")
        if name not in INGREDIENTS:
            raise SetupError(
                f"{name} is not a parameter of the stars; theirs are {', '.join(INGREDIENTS)}."
            )
        try:
            parameters[name] = json.loads(value.strip().lower())
        except ValueError as err:
            raise SetupError(f"{text!r} is not NAME=VALUE, such as imf_type=0.") from err
        if not isinstance(parameters[name], (bool, int, float)):
            raise SetupError(f"{text!r} is not NAME=VALUE, such as imf_type=0.")
    if args.dsps is not None:
        from .dsps_ingredients import make_from_dsps

        named = (f"{k}_{v}" for k, v in sorted(parameters.items()))
        name = "-".join(["dsps", args.dsps.stem, *named])
        path = args.out or user_folder() / f"{name}.safetensors"
        made = make_from_dsps(args.dsps, path, args.label, args.zsol, args.overwrite, **parameters)
        print(made, made.manifest.get("note", ""), f"Wrote {path}", sep="\n")
        return
    if args.zsol is not None:
        raise SetupError("--zsol belongs to --dsps; FSPS knows its own.")
    # Loading takes seconds.
    print("Starting FSPS", flush=True)
    from .ingredient_tables import compare_with_fsps, make_ingredients

    here = installed_fsps()
    name = "-".join(
        [
            "fsps",
            *(here.libraries if here else ()),
            *(f"{k}_{v}" for k, v in sorted(parameters.items())),
        ]
    )
    path = args.out or user_folder() / f"{name}.safetensors"
    ingredients = make_ingredients(
        path, args.label, args.overwrite, lambda sentence: print(sentence, flush=True), **parameters
    )
    print(ingredients)
    if args.test > 0:
        median, worst = compare_with_fsps(path, args.test)
        print(
            f"{args.test} spectra against FSPS, 912 A to 1 mm: median {median:.1e}, "
            f"worst {worst:.1e} of the light."
        )
