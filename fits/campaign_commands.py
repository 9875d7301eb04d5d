"""The subcommands ``prospect-emu campaign`` and ``prospect-emu compare``."""

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

_WORDS = ("status", "tables")


def register_campaign(subparsers):
    """Add ``prospect-emu campaign``."""
    p = subparsers.add_parser(
        "campaign",
        help="fit a catalog: run, resume, watch, collect",
        description=(
            "campaign CONFIG.toml makes every fit of a campaign that is not there yet, then the "
            "results table and the HTML summary. campaign status DIR says how far it is, from any "
            "shell. campaign tables DIR makes table and summary from the result files again."
        ),
    )
    p.add_argument("words", nargs="+", metavar="CONFIG.toml | status DIR | tables DIR")
    p.add_argument("--out", type=Path, metavar="DIR", help="another output folder")
    p.add_argument(
        "--refit", action="store_true",
        help="repeat fits that were made with other settings, data, emulators or versions",
    )  # fmt: skip
    p.add_argument(
        "--accept", action="append", default=[], metavar="FIELD",
        help="accept results that differ in this field, such as versions.numpy; may be repeated",
    )  # fmt: skip
    p.add_argument("--retry-failed", action="store_true", help="repeat fits that failed")
    p.add_argument(
        "--retry-stalled", action="store_true", help="repeat fits that used up their budget"
    )
    p.add_argument(
        "--verify", action="store_true", help="check all checksums, not those of new files only"
    )
    p.add_argument(
        "--chunk", type=_chunk, metavar="I/N", help="only every N-th fit from the I-th (job arrays)"
    )
    p.add_argument(
        "--submit", action="store_true", help="with the executor 'slurm': call sbatch, too"
    )
    p.add_argument("--quiet", action="store_true", help="no progress")
    p.set_defaults(run=_campaign)


def _campaign(args):
    from ..errors import SetupError

    if args.words[0] in _WORDS:
        if len(args.words) != 2:
            raise SetupError(f"campaign {args.words[0]} needs one folder.")
        return {"status": _status, "tables": _tables}[args.words[0]](args, Path(args.words[1]))
    if len(args.words) != 1:
        raise SetupError(f"campaign takes one TOML file, not {len(args.words)} words.")
    return _run(args, Path(args.words[0]))


def _run(args, path):
    from .campaign import Options, run_campaign
    from .config import read_config

    config = read_config(path)
    if args.out:
        config = replace(config, output=str(args.out.absolute()))
    if config.executor.kind == "slurm" and args.chunk is None:
        return _slurm(args, path, config)
    options = Options(
        args.refit, tuple(args.accept), args.retry_failed, args.retry_stalled, args.verify,
        args.chunk,
    )  # fmt: skip
    line = _Line(quiet=args.quiet)
    states = run_campaign(config, options, report=line)
    line.end()
    if args.chunk is None:
        _collect(Path(config.output))
    if not args.quiet:
        print(f"{config.output}: " + ", ".join(f"{n} {s}" for s, n in sorted(states.items())))
    return 3 if states["failed"] or states["stalled"] or states["pending"] else 0


def _slurm(args, path, config):
    import shutil
    import subprocess

    from ..errors import SetupError
    from .campaign import make_plan
    from .slurm import write_script
    from .store import Store

    store = Store(config.output)
    store.create()
    fits = len(make_plan(config, store).tasks)  # every fault of the input shows here
    flags = [flag for flag, given in (
        ("--refit", args.refit), ("--retry-failed", args.retry_failed),
        ("--retry-stalled", args.retry_stalled), ("--verify", args.verify),
    ) if given]  # fmt: skip
    flags += [f"--accept={name}" for name in args.accept]
    chunks = min(fits, config.executor.chunks)
    script = write_script(path, config, config.output, flags, chunks)
    print(f"{script}: {fits} fits in {chunks} parts")
    if not args.submit:
        print(f"Submit it with: sbatch {script}")
        return 0
    sbatch = shutil.which("sbatch")
    if sbatch is None:
        raise SetupError("There is no sbatch here; submit the script where there is one.")
    done = subprocess.run([sbatch, str(script)], capture_output=True, text=True)
    if done.returncode:
        hint = ""
        if "array" in done.stderr.lower():
            hint = (
                f" (executor.chunks = {chunks} must be below MaxArraySize of scontrol show config)"
            )
        raise SetupError(f"sbatch refused the script: {done.stderr.strip()}{hint}")
    print(done.stdout.strip())
    return 0


def _collect(folder, verify=False):
    from .campaign_report import write_summary
    from .results import read_results, write_results

    results = read_results(folder, verify)
    paths = write_results(results, folder)
    return [*paths, write_summary(results, folder)]


def _tables(args, folder):
    for path in _collect(folder, args.verify):
        print(path)
    return 0


def _status(args, folder):
    from .campaign import campaign_status

    status = campaign_status(folder, args.verify)
    states = status["states"]
    total = sum(states.values())
    print(f"{status['name']}: {total} fits, {status['left_out']} galaxies left out")
    for state in ("done", "failed", "stalled", "pending", "changed", "damaged"):
        if states[state] or state in ("done", "pending"):
            print(f"  {state:8s} {states[state]}")
    if status["holder"]:
        print(f"Running: {status['holder']}")
        for progress in status["progress"]:
            print(f"  {_sentence(progress)}")
            if progress["running"]:
                print(f"  now: {', '.join(progress['running'])}")
    elif states["pending"] or states["damaged"]:
        print("Not running; run prospect-emu campaign again to resume.")
    for key, entry in status["entries"].items():
        if entry.detail and entry.state in ("failed", "damaged", "pending"):
            print(f"  {key.name} ({entry.state}, {entry.attempts} attempts): {entry.detail}")
    return 0


def _sentence(progress):
    done = progress["done"] + progress["failed"] + progress["stalled"]
    total = done + progress["pending"]
    text = f"{done} of {total}, {progress['failed']} failed, {progress['per_hour']:.0f} per hour"
    if progress["seconds_left"] is not None and progress["pending"]:
        text += f", {_duration(progress['seconds_left'])} left"
    if progress.get("waiting"):
        text += f"; waiting: {progress['waiting']}"
    return text


def _duration(seconds):
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours} h {rest // 60:02d} min" if hours else f"{rest // 60} min {rest % 60:02d} s"


class _Line:
    """Progress: one line that changes on a terminal, a line a minute elsewhere."""

    def __init__(self, quiet, stream=None):
        self.quiet, self.stream = quiet, stream or sys.stderr
        self.every = 1.0 if self.stream.isatty() else 60.0
        self.next, self.told = 0.0, False

    def __call__(self, progress):
        if self.quiet:
            return
        if progress["interrupted"] and not self.told:
            self.told = True
            self.stream.write(f"Resuming after an interruption ({progress['interrupted']}).\n")
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + self.every
        start, end = ("\r\033[K", "") if self.stream.isatty() else ("", "\n")
        self.stream.write(f"{start}{_sentence(progress)}{end}")
        self.stream.flush()

    def end(self):
        if not self.quiet and self.stream.isatty():
            self.stream.write("\n")


# ---- compare -----------------------------------------------------------------------------------


def register_compare(subparsers):
    """Add ``prospect-emu compare``."""
    p = subparsers.add_parser(
        "compare",
        help="compare the posteriors of two or more sets of fits",
        description=(
            "Compares campaigns galaxy by galaxy, from their result files: differences of "
            "medians, discrepancies D, rates of D > 3 with binomial intervals against those of "
            "repeated runs, and for mocks the recovery of the truth. Writes comparison.ecsv, "
            "discrepancies.ecsv, recovery.ecsv, left_out.ecsv and figures."
        ),
    )
    p.add_argument(
        "reference",
        metavar="REFERENCE",
        help="FOLDER[:EMULATOR[:REPEAT]], for example exact/ or c:fsps",
    )
    p.add_argument("others", nargs="*", metavar="OTHER", help="likewise; every emulator in it")
    p.add_argument("--out", type=Path, default=Path("comparison"), metavar="DIR")
    p.set_defaults(run=_compare)


def _compare(args):
    from ..files import check_writable, save_figure
    from ..observe.table_files import write_table
    from . import compare as c
    from . import compare_figures as f

    pairs = c.make_pairs(args.reference, args.others)
    check_writable(args.out / "comparison.ecsv", overwrite=True)
    table = c.comparison_table(pairs)
    write_table(table, args.out / "comparison.ecsv")
    write_table(c.discrepancy_table(pairs), args.out / "discrepancies.ecsv")
    write_table(c.left_out_table(pairs), args.out / "left_out.ecsv")
    made = {
        "medians": f.medians_figure(pairs),
        "discrepancies": f.discrepancy_figure(pairs),
        "rates": f.rates_figure(pairs),
    }
    sides = [s for s in c.sides_of(pairs) if s.truth("logmass") is not None]
    recovery = c.recovery_table(sides)
    if sides:
        write_table(recovery, args.out / "recovery.ecsv")
        made["recovery"] = f.recovery_figure(sides)
    for name, figure in made.items():
        save_figure(figure, args.out / f"{name}.png", dpi=130)
    shown = table[[r["parameter"] in (*c.QUANTITIES, "any of the four") for r in table]]
    for each in (shown, recovery):
        if len(each):
            for name in each.colnames:
                if each[name].dtype.kind == "f":
                    each[name].info.format = ".3g"
            print("\n".join(each.pformat(max_lines=-1, max_width=-1)), end="\n\n")
    for pair in pairs:
        some = ", ".join(f"{g} ({why})" for g, why in sorted(pair.left_out.items())[:5])
        more = ", ..." if len(pair.left_out) > 5 else ""
        if some:
            print(f"{pair.label}: {len(pair.left_out)} galaxies are left out: {some}{more}")
    print(f"Written to {args.out}: tables and {', '.join(f'{n}.png' for n in made)}")
    return 0


def _chunk(text):
    from .slurm import parse_chunk

    try:
        return parse_chunk(text)
    except ValueError as err:
        raise argparse.ArgumentTypeError(f"{err}; write I/N, say 0/10") from err
