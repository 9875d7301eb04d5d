"""What type checkers and editors see of the package is what it has."""

import ast
import inspect
from importlib.resources import files

import prospect_emu


def test_the_stub_names_what_the_package_has():
    stub = ast.parse((files("prospect_emu") / "__init__.pyi").read_text())
    imported = {a.asname: n.module for n in stub.body if isinstance(n, ast.ImportFrom)
                for a in n.names}  # fmt: skip
    assert imported.pop("fit") == "fit.one_galaxy"
    assert imported == prospect_emu._PUBLIC
    assert {*imported, "fit"} == set(prospect_emu.__all__)
    assert (files("prospect_emu") / "py.typed").is_file()


def test_public_calls_have_type_hints():
    """Of arguments whose type is ours or Python's; models and sps are Prospector's."""
    from prospect_emu.fit.one_galaxy import fit_table

    hints = inspect.get_annotations(fit_table)
    assert set(hints) == {*inspect.signature(fit_table).parameters, "return"}
    for name, method in vars(prospect_emu.FitResult).items():
        if inspect.isfunction(method) and not name.startswith("_"):
            assert "return" in method.__annotations__, name
