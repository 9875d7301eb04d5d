"""A Slurm job array for a campaign: a script, each of whose tasks makes its own part."""

import os
import re
import shlex
import stat
import sys
from pathlib import Path

from ..errors import SetupError
from .store import write_file

_SCRIPT = """\
#!/bin/bash
#SBATCH --job-name={name}
#SBATCH --array=0-{last}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task={workers}
#SBATCH --output={log}
{sbatch}# Written by prospect-emu campaign; submit with: sbatch {path}
# A part that was stopped, or the whole array, may be submitted again: what is
# done is not repeated. Afterwards: {collect}
set -eu
export OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 MKL_NUM_THREADS=1
{setup}# All paths here are absolute; where it was submitted, Python might find other modules first.
cd {folder}
exec {command} --chunk "${{SLURM_ARRAY_TASK_ID}}/{chunks}"
"""


def write_script(config_path, config, folder, flags=(), chunks=None):
    """Write the sbatch script of a campaign.

    Parameters
    ----------
    config_path : path-like
        The campaign's TOML file.
    config : Config
    folder : path-like
        The campaign's.
    flags : sequence of str
        Further arguments of each part's command.
    chunks : int, optional
        Instead of ``config.executor.chunks``.

    Returns
    -------
    pathlib.Path

    Raises
    ------
    SetupError
        If a path holds a line break, a double quote or a backslash, which sbatch does not take.
    """
    folder, executor = Path(folder).absolute(), config.executor
    path = folder / "slurm" / "campaign.sbatch"
    command = [sys.executable, "-m", "prospect_emu.commands.cli", "campaign"]
    target = str(Path(config_path).absolute())
    chunks = chunks or executor.chunks
    for name in (target, str(folder)):
        if re.search(r'[\x00-\x1f"\\]', name):
            raise SetupError(
                f"The path {name!r} holds a line break, a double quote or a backslash, which "
                "sbatch does not take; rename it."
            )
    text = _SCRIPT.format(
        name=re.sub(r"[^\w.+-]", "_", config.name),
        last=chunks - 1,
        chunks=chunks,
        workers=executor.workers,
        log=_sbatch_word(folder / "slurm" / "LOG").replace("LOG", "%A_%a.log"),
        sbatch="".join(f"#SBATCH {line}\n" for line in executor.sbatch),
        path=shlex.quote(str(path)),
        folder=shlex.quote(str(folder)),
        collect=shlex.join([*command, "tables", str(folder)]),
        setup="".join(f"{line}\n" for line in executor.setup),
        command=shlex.join([*command, target, "--out", str(folder), "--quiet", *flags]),
    )
    write_file(path, text.encode())
    os.chmod(path, path.stat().st_mode | stat.S_IXUSR)
    return path


def _sbatch_word(path):
    # sbatch itself reads these lines, not a shell: it takes double quotes, and a percent sign
    # begins one of its own words.
    text = str(path).replace("%", "%%")
    return text if re.fullmatch(r"[\w/.+%-]+", text) else f'"{text}"'


def parse_chunk(text):
    """Index and number of parts of "3/10".

    Raises
    ------
    ValueError
        If it is no such pair.
    """
    index, _, number = text.partition("/")
    pair = int(index), int(number)
    if not 0 <= pair[0] < pair[1]:
        raise ValueError(
            f"{text} is not a part: the first number counts from 0 to the second less 1"
        )
    return pair
