"""Pickles of plain data and NumPy arrays, read without ever calling what a file names."""

import io
import pickle
from pathlib import Path

import numpy as np

from ..errors import ModelFileError

# What an array in a pickle needs; nothing here runs code of the file's.
_NUMPY = {
    ("numpy", "ndarray"), ("numpy", "dtype"),
    *((f"numpy.{core}.multiarray", name) for core in ("core", "_core")
      for name in ("_reconstruct", "scalar")),
}  # fmt: skip
_NAMES = {("_codecs", "encode")}


class _Arrays(pickle.Unpickler):
    def find_class(self, module, name):
        if (module, name) in _NUMPY | _NAMES:
            return super().find_class(module, name)
        raise pickle.UnpicklingError(f"it names {module}.{name}")


def load_arrays(path):
    """What a pickle, or a ``.npy`` file of objects, holds: numbers, texts, lists and arrays.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    object
        Of a ``.npy`` file of one object, that object.

    Raises
    ------
    ModelFileError
        If it is neither, is damaged, or holds anything else; that is never executed.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as err:
        raise ModelFileError(f"Cannot read {path} ({err.strerror}); check the path.") from err
    stream, whole = io.BytesIO(data), False
    try:
        if data[:6] == np.lib.format.MAGIC_PREFIX:
            version = np.lib.format.read_magic(stream)
            read = getattr(np.lib.format, f"read_array_header_{version[0]}_0")
            shape, _, dtype = read(stream)
            whole = shape == ()
            if not dtype.hasobject:
                raise pickle.UnpicklingError("it is an array of numbers alone")
        out = _Arrays(stream, encoding="latin1").load()
        return out.item() if whole and isinstance(out, np.ndarray) else out
    except Exception as err:  # damaged pickles raise any type
        raise ModelFileError(
            f"{path} is not a file of plain arrays ({' '.join(str(err).split())[:120]}); nothing "
            "in it was executed."
        ) from err
