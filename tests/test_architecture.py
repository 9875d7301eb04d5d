"""The folders' imports go one way, as docs/architecture.md says; old import paths work."""

import ast
import importlib
import subprocess
import sys
from collections import Counter
from importlib.util import find_spec
from pathlib import Path

import pytest

from prospect_emu import old_paths

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "architecture.md"


def table():
    first = TABLE.read_text().split("\n## ")[0]
    lines = [line for line in first.splitlines() if line.startswith("| `")]
    names = [line.split("|")[1].strip(" `").replace("/", ".") for line in lines]
    return [n if n.startswith("prospect_emu") else f"prospect_emu.{n}" for n in names]


def modules():
    """{dotted name: path} of every module."""
    out = {}
    for top in ("prospect_emu", "training", "fits"):
        for path in sorted((ROOT / top).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            parts = parts if top == "prospect_emu" else ("prospect_emu", *parts)
            out[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return out


def folder_of(name):
    """The folder of the table that holds a module."""
    known = [f for f in table() if name == f or name.startswith(f + ".")]
    return max(known, key=len)


def imports(name, path, known):
    """Modules of this package that a module imports, inside functions too."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if a.name in known)
        if not isinstance(node, ast.ImportFrom):
            continue
        target = node.module or ""
        if node.level:
            base = package.split(".")
            base = base[: len(base) - node.level + 1]
            target = ".".join([*base, *([node.module] if node.module else [])])
        for alias in node.names:
            full = f"{target}.{alias.name}"
            if full in known or target in known:
                yield full if full in known else target


MODULES = modules()
GRAPH = {
    name: {i for i in imports(name, path, MODULES) if i != name} for name, path in MODULES.items()
}


def test_every_folder_is_in_the_table():
    packages = {n for n, p in MODULES.items() if p.name == "__init__.py"}
    below = {"prospect_emu.training.themis"}
    assert packages - below == set(table())


def test_imports_go_down_the_table():
    order = {name: i for i, name in enumerate(table())}
    upward = [
        f"{name} imports {other}"
        for name, others in GRAPH.items()
        for other in others
        if order[folder_of(other)] > order[folder_of(name)]
    ]
    assert not upward


def test_no_circles():
    state = {}

    def visit(name, trail):
        if state.get(name) == "open":
            pytest.fail(" -> ".join([*trail[trail.index(name) :], name]))
        if name not in state:
            state[name] = "open"
            for other in sorted(GRAPH[name]):
                visit(other, [*trail, name])
            state[name] = "done"

    for name in GRAPH:
        visit(name, [])


def test_no_two_modules_of_one_name():
    count = Counter(n.rpartition(".")[2] for n in MODULES)
    assert not [n for n, k in count.items() if k > 1]


def test_prospector_is_imported_in_one_folder():
    outside = ("prospect_emu.training", "prospect_emu.fits", "prospect_emu.prospector")
    found = []
    for name, path in MODULES.items():
        for node in ast.walk(ast.parse(path.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if isinstance(node, ast.Import):
                names = [a.name for a in node.names]
            level = getattr(node, "level", 0)
            if not level and any(n.split(".")[0] == "prospect" for n in names):
                found.append(name)
    assert not [n for n in found if not n.startswith(outside)]


@pytest.mark.parametrize("old", old_paths.MOVED)
def test_old_paths(old):
    new = f"prospect_emu.{old_paths.MOVED[old]}"
    if find_spec(new) is None or "training" in old:
        pytest.importorskip("torch", reason="training needs torch")
    module = importlib.import_module(f"prospect_emu.{old}")
    assert module is importlib.import_module(new)
    # The module still knows where it is.
    assert module.__spec__.name == new


def test_old_command_line(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "prospect_emu.cli", "--version"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith("prospect-emu")


def test_names_that_users_import():
    from prospect_emu.dust import load_dust_emulator
    from prospect_emu.emulator import list_emulators, load_emulator
    from prospect_emu.model import BOX, PARAMETERS, derived_quantities, model_params
    from prospect_emu.result import FitResult, weighted_quantiles

    for name in (load_dust_emulator, list_emulators, load_emulator, model_params,
                 derived_quantities, FitResult, weighted_quantiles):  # fmt: skip
        assert callable(name)
    assert set(PARAMETERS) == set(BOX)


def test_versions_are_asked_in_the_adapters():
    """Which Prospector is installed is asked in one module; of dynesty, where it is sampled."""
    # And whether python-fsps is there at all.
    adapters = ("prospect_emu.prospector", "prospect_emu.sampling", "prospect_emu.sps.installed")
    asking = []
    for name, path in MODULES.items():
        tests = [
            node.test
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, (ast.If, ast.IfExp, ast.While))
        ]
        names = {getattr(n, "attr", getattr(n, "id", "")) for test in tests for n in ast.walk(test)}
        if any(n in ("version", "__version__", "dynesty_version", "find_spec") for n in names):
            asking.append(name)
    assert not [n for n in asking if not n.startswith(adapters)]
    in_prospector = [n for n in asking if n.startswith("prospect_emu.prospector")]
    assert in_prospector == ["prospect_emu.prospector.version"]
    chosen = {"prospect_emu.prospector.v1", "prospect_emu.prospector.v2"}
    assert [n for n, others in GRAPH.items() if chosen & others] == in_prospector
