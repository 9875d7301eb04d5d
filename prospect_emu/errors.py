"""Errors that users meet: one sentence each, saying what, where and what to do.

None of them derives from `ValueError`: Prospector's likelihood turns a
`ValueError` into ``-inf``, which would silently bias the evidence.
"""


class ProspectEmuError(Exception):
    """Base class of every error raised on purpose by this package."""


class ModelFileError(ProspectEmuError):
    """An emulator file is missing, foreign, truncated or damaged."""


class FilterError(ProspectEmuError):
    """A filter is unknown, or its curve is not the one that was emulated."""


class RangeError(ProspectEmuError):
    """A parameter, prior or redshift lies outside the emulator's training box."""


class ModelMismatchError(ProspectEmuError):
    """The Prospector model makes other assumptions than the emulator."""


class NotCompiledError(ModelMismatchError):
    """What a model adds is known to Prospector alone, at its own pace."""


class DataError(ProspectEmuError):
    """Photometry that cannot be used: NaN, masked, wrong unit, wrong shape."""


class OutputError(ProspectEmuError):
    """An output cannot be written, or would overwrite an existing one."""


class SetupError(ProspectEmuError):
    """Something that this task needs is not installed or not configured."""
