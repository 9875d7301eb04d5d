"""Making of emulators. `ExactSPS` is loaded when asked for: it needs torch."""


def __getattr__(name):
    if name == "ExactSPS":
        from .exact import ExactSPS

        return ExactSPS
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
