"""What `prospect-emu check` looks at: each part of an installation, and how to fix it."""

import os
import sys
from collections import namedtuple
from importlib import import_module
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

OK, FAULT, ABSENT = "ok", "FAULT", "absent"

Check = namedtuple("Check", "part state detail fix", defaults=("",))
Check.__doc__ = (
    "A part, its state (ok, FAULT, or absent and optional), what was found, how to fix it."
)

# Distribution name -> module, where they differ.
_MODULES = {"astro-prospector": "prospect.models", "astro-sedpy": "sedpy.observate"}
# prospect_emu.fit_model runs on these too; Prospector's own fit_model does not.
_DYNESTY_OURS = (3, 2)


def checks():
    """All checks, one after another."""
    yield check_python()
    for text in requires("prospect_emu") or []:
        if applies(text):
            yield check_package(text)
    yield from check_emulators()
    yield check_fsps()
    yield check_torch()


def check_python():
    """Python's version."""
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        return Check("python", OK, found)
    return Check(
        "python", FAULT, f"{found}; 3.11 to 3.13 are tested", "make an environment with Python 3.12"
    )


def applies(requirement):
    """Whether a requirement holds here: without extras, and for this Python and system.

    Parameters
    ----------
    requirement : str
        As in a package's metadata, for example ``tomli >= 2; python_version < "3.11"``.
    """
    from packaging.requirements import Requirement

    marker = Requirement(requirement).marker
    return marker is None or marker.evaluate({"extra": ""})


def check_package(requirement):
    """An installed package against a requirement such as ``numpy >= 2.0``."""
    from packaging.requirements import Requirement

    wanted = Requirement(requirement)
    fix = f'pip install "{wanted.name}{wanted.specifier}"'
    try:
        found = version(wanted.name)
    except PackageNotFoundError:
        return Check(wanted.name, FAULT, "not installed", fix)
    try:
        import_module(_MODULES.get(wanted.name, wanted.name))
    except Exception as err:  # a broken package may raise anything
        return Check(wanted.name, FAULT, f"{found} cannot be imported ({err})", fix)
    if wanted.specifier.contains(found, prereleases=True):
        return Check(wanted.name, OK, found)
    if wanted.name == "dynesty" and (3, 0) <= _numbers(found) < _DYNESTY_OURS:
        detail = f"{found} works with prospect_emu.fit_model, not with Prospector's own"
        return Check(wanted.name, OK, detail, f"for Prospector's fit_model: {fix}")
    return Check(wanted.name, FAULT, f"{found} is not supported (needs {wanted.specifier})", fix)


def check_emulators():
    """Each bundled emulator: its checksum, and its filter curves against sedpy's."""
    from ..errors import ProspectEmuError
    from ..networks.loading import list_emulators, load_emulator
    from ..prospector.drop_in import EmulatorSPS

    again = "pip install --force-reinstall --no-deps prospect_emu"
    names = list_emulators()
    if not names:
        yield Check("emulators", FAULT, "none is bundled", again)
    for name in names:
        try:
            emulator = EmulatorSPS(load_emulator(name)).emulator
        except ProspectEmuError as err:
            yield Check(name, FAULT, str(err), again)
        else:
            sha = str(emulator.manifest.get("sha256"))[:12]
            yield Check(name, OK, f"{len(emulator.filters)} bands, checksum {sha}")


def check_fsps():
    """python-fsps and SPS_HOME: for training samples only."""
    home = os.environ.get("SPS_HOME")
    try:
        found = version("fsps")
    except PackageNotFoundError:
        found = None
    if home and not Path(home, "data", "emlines_info.dat").is_file():
        # Prospector reads this file whenever SPS_HOME is set.
        return Check(
            "fsps", FAULT, f"SPS_HOME = {home} holds no FSPS data", "unset SPS_HOME, or correct it"
        )
    if found and home:
        return Check("fsps", OK, f"{found}, SPS_HOME = {home} (for training samples)")
    lacking = " and ".join(
        what for what, there in (("python-fsps", found), ("SPS_HOME", home)) if not there
    )
    return Check(
        "fsps",
        ABSENT,
        f"{lacking} not there; fits do not need it",
        "to make training samples: install FSPS, set SPS_HOME, pip install 'prospect_emu[fsps]'",
    )


def check_torch():
    """torch: for training only."""
    try:
        return Check("torch", OK, f"{version('torch')} (for training)")
    except PackageNotFoundError:
        return Check(
            "torch",
            ABSENT,
            "fits do not need it",
            "to train: pip install 'prospect_emu[train]'",
        )


def _numbers(text):
    """(3, 1) of '3.1.0'."""
    return tuple(int(part) for part in text.split(".")[:2])
