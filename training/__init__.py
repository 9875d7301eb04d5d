"""Making of emulators. `ExactSPS` is loaded when asked for: it needs torch."""


def __getattr__(name):
    if name == "ExactSPS":
        from .exact import ExactSPS

        return ExactSPS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def need(module, for_what):
    """Raise `SetupError` unless a module of the extra ``train`` is installed."""
    from importlib import import_module

    from prospect_emu.errors import SetupError

    try:
        import_module(module)
    except ModuleNotFoundError as err:
        raise SetupError(
            f"{for_what} needs {module}, which is not installed ({err}); pip install "
            "'prospect_emu[train]'."
        ) from err
