"""`prospect-emu run` and `describe`: parameter files of Prospector, and its templates."""

from pathlib import Path

from . import fit_output


def register_run(subparsers):
    """Add ``prospect-emu run``."""
    p = subparsers.add_parser(
        "run",
        help="fit what a parameter file of Prospector describes",
        description=(
            "Calls build_obs, build_model and build_noise of a parameter file and fits the model "
            "with the exact emulator in place of FSPS, by nested sampling. Options that are not "
            "listed here are the file's own, as on its command line. Writes into the output "
            f"folder: {', '.join(fit_output.OUTPUTS)}."
        ),
    )
    p.add_argument("file", type=Path, metavar="PARAMS.py")
    fit_output.add_output_options(p, "run_<name of PARAMS.py>")
    p.add_argument("--describe", action="store_true", help="print the model and stop")
    p.set_defaults(run=_run, takes_unknown=True)


def _run(args):
    from ..observe.observation import filter_list
    from ..prospector.parameter_file import CHOICES, ParameterFile
    from ..prospector.version import adapter

    file = ParameterFile(args.file, args.unknown)
    obs, model, sps, noise = file.build()
    if args.describe:
        print(_description(model, sps, obs))
        return 0
    out = args.out or Path(f"run_{args.file.stem}")
    fit_output.prepare(out, args)
    chosen = {k: file.run_params[k] for k in file.chosen}
    settings = {k: v for k, v in chosen.items() if k.startswith("nested_")}
    sampler = settings.pop("nested_sampler", "dynesty")
    if settings.get("nested_sample") not in (None, "rwalk"):
        settings["nested_sample"] = "rwalk"
    if args.seed is None and isinstance(chosen.get("seed"), int):
        args.seed = chosen["seed"]
    if not args.quiet:
        bands = len(filter_list(adapter.observed(obs).get("filters")))
        print(f"Fitting {args.file.name}: {model.ndim} free parameters, {bands} bands,")
        print(f"with {sps!r}.")
        other = [k for k in CHOICES if k != "dynesty" and chosen.get(k)]
        other += [sampler] * (sampler != "dynesty")
        if other:
            print(f"  {', '.join(other)}: set in the file; the fit is by nested sampling.")
    return fit_output.sample(
        args, out, obs, model, sps, noise, described={"param_file": str(args.file)}, **settings
    )


def register_describe(subparsers):
    """Add ``prospect-emu describe``."""
    p = subparsers.add_parser(
        "describe",
        help="print a model: free, fixed and tied parameters, and what is emulated",
        description="Prints the model of a parameter file, or of Prospector's templates.",
    )
    p.add_argument(
        "model", metavar="MODEL",
        help="a parameter file, or names of templates joined by +; mathews23 for ours",
    )  # fmt: skip
    p.add_argument("--zred", type=float, help="redshift to hold fixed, with templates")
    p.set_defaults(run=_describe, takes_unknown=True)


def _describe(args):
    from prospect_emu import EmulatorSPS

    from ..errors import SetupError
    from ..prospector.mathews23 import model_params
    from ..prospector.templates import template_model
    from ..prospector.version import adapter

    sps, obs, notes = EmulatorSPS(), {}, []
    if Path(args.model).suffix == ".py":
        from ..prospector.parameter_file import ParameterFile

        own = [] if args.zred is None else [f"--zred={args.zred}"]
        obs, model, _, _ = ParameterFile(args.model, [*args.unknown, *own]).build(sps)
    elif args.unknown:
        raise SetupError(f"{args.unknown[0]} is not an option of templates; leave it out.")
    elif args.model == "mathews23":
        model = adapter.SpecModel(model_params(zred=args.zred))
    else:
        model, notes = template_model(args.model, args.zred)
    print(_description(model, sps, obs, notes))
    return 0


def _description(model, sps, obs, notes=()):
    """The model in lines of text."""
    import warnings

    from ..fit.predictions import predictions
    from ..observe.observation import has_photometry
    from ..prospector.parameter_map import ParameterMap
    from ..prospector.version import adapter

    lines = [f"{model.ndim} free parameters ({type(model).__name__}), {sps.label}"]
    mapped = ParameterMap(model)

    def section(title, rows):
        if rows:
            lines.extend(["", title])
            width = max(len(a) for a, _ in rows)
            lines.extend(f"  {a:{width}s}  {b}" for a, b in rows)

    section("free", [(n, _prior(model.config_dict[n]["prior"])) for n in model.free_params])
    tied = [n for n, v in model.config_dict.items() if v.get("depends_on")]
    section("tied", [(n, _tie(model, n, mapped)) for n in tied])
    fixed = [n for n in model.fixed_params if n not in tied]
    section("fixed", [(n, _fixed(model.params[n])) for n in fixed])
    if mapped.stale:
        notes = [*notes, f"{', '.join(mapped.stale)}: read another parameter that Prospector "
                 "computes later, so that its value belongs to the vector before; here they "
                 "belong to the same."]  # fmt: skip
    obs = adapter.observed(obs)
    seen = obs if has_photometry(obs) else {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        predicted = predictions(model, seen, sps)
    notes = [*notes, *(str(w.message) for w in caught if w.category is UserWarning)]
    error = getattr(getattr(predicted, "compiled", None), "error", None)
    if error:
        worst = max(error, key=error.get)
        lines += ["", f"compiled for {len(error)} bands, within {error[worst]:.1e} ({worst}) "
                  "of whole spectra"]  # fmt: skip
    if mapped.cost and not seen:
        notes = [*notes, mapped.cost]
    if notes:
        lines += ["", *notes]
    return "\n".join(lines)


def _fixed(value):
    import numpy as np

    value = np.squeeze(value)
    return np.array2string(value, precision=5, separator=", ").replace("\n", "")


def _prior(prior):
    inside = ", ".join(f"{k}={_short(v)}" for k, v in getattr(prior, "params", {}).items())
    return f"{type(prior).__name__}({inside})"


def _short(value):
    """A number of few digits; of large arrays the shape."""
    import numpy as np

    array = np.asarray(value)
    if array.dtype.kind not in "fi":
        return str(value)
    if array.size > 8:
        return f"array of shape {array.shape}"
    return np.array2string(array, precision=6, separator=", ") if array.ndim else f"{value:.6g}"


def _tie(model, name, mapped):
    function = model.config_dict[name]["depends_on"]
    text = getattr(function, "__name__", type(function).__name__)
    return text + (", row by row" if name in mapped.row_by_row else "")
