"""Safe files: atomic writes, and tensors with a checksum. Reading never executes code."""

import hashlib
import io
import json
import os
import secrets
import tempfile
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from .errors import ModelFileError, OutputError


def check_writable(path, overwrite=False):
    """Raise `OutputError` unless a file can be created at `path`; makes its folder."""
    path = Path(path)
    if path.exists() and not overwrite:
        raise OutputError(f"{path} exists already; choose another name or pass --overwrite.")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as err:
        raise OutputError(
            f"Cannot write in {path.parent} ({err.strerror}); choose a folder you may write to."
        ) from err


def write_atomic(path, data):
    """Write bytes so that `path` holds either all of them or what it held before.

    `data` may be a function instead, which writes them to the open file that it is given.
    """
    path = Path(path)
    tmp = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # Not tempfile: its files are readable by their owner alone.
        with open(tmp, "wb") as f:
            data(f) if callable(data) else f.write(data)
            f.flush()
            os.fsync(f.fileno())
        os.replace(tmp, path)
    except BaseException:
        tmp.unlink(missing_ok=True)
        raise


def figure_bytes(figure, suffix="png", dpi=150):
    """A Matplotlib figure as a file's content, PNG or PDF."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format=suffix, dpi=dpi)
    return buffer.getvalue()


def save_figure(figure, path, dpi=150, suffix="png"):
    """Write a Matplotlib figure atomically, as PNG or PDF."""
    write_atomic(path, figure_bytes(figure, suffix, dpi))


def fingerprint(obj):
    """SHA-256 of a JSON-serialisable object, independent of key order."""
    return hashlib.sha256(json.dumps(obj, sort_keys=True).encode()).hexdigest()


def digest(tensors, described):
    """SHA-256 over names, types, shapes and bytes of arrays, and a JSON-serialisable object."""
    h = hashlib.sha256(json.dumps(described, sort_keys=True).encode())
    for name in sorted(tensors):
        a = np.ascontiguousarray(tensors[name])
        h.update(f"{name}|{a.dtype.str}|{a.shape}|".encode())
        h.update(a.tobytes())
    return h.hexdigest()


def save_tensors(path, tensors, manifest):
    """Write arrays and a JSON manifest into one safetensors file, atomically.

    The manifest gains ``sha256``, the digest of the arrays and of the rest of it.
    """
    tensors = {k: np.ascontiguousarray(v) for k, v in tensors.items()}
    manifest = {k: v for k, v in manifest.items() if k != "sha256"}
    manifest["sha256"] = digest(tensors, manifest)
    write_atomic(path, save(tensors, metadata={"manifest": json.dumps(manifest)}))


def load_tensors(path, kind):
    """Read what `save_tensors` wrote and verify it.

    Parameters
    ----------
    path : path-like
    kind : str
        Required value of ``manifest["kind"]``.

    Returns
    -------
    (dict of ndarray, dict)
        The arrays and the manifest.

    Raises
    ------
    ModelFileError
        If the file is missing, not safetensors, truncated, of another kind, or
        fails its checksum.
    """
    tensors, manifest = _read(path, (kind,))
    described = {k: v for k, v in manifest.items() if k != "sha256"}
    if manifest.get("sha256") != digest(tensors, described):
        raise ModelFileError(f"{path} fails its checksum; it is damaged: copy or make it again.")
    return tensors, manifest


def load_model(path, kind, schema, build):
    """Read a file of `save_tensors` into an object.

    Parameters
    ----------
    path : path-like
    kind, schema
        Required in the manifest.
    build : callable
        ``build(tensors, manifest)`` gives the object, and what in it does not fit together
        or None.

    Raises
    ------
    ModelFileError
        If the file is missing, foreign, damaged or incomplete, or does not fit together.
    """
    tensors, manifest = load_tensors(path, kind)
    if manifest.get("schema") != schema:
        raise ModelFileError(
            f"{path} has schema {manifest.get('schema')}, this version reads schema {schema}; "
            "update prospect_emu or make the file again."
        )
    try:
        made, problem = build(tensors, manifest)
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as err:
        raise ModelFileError(
            f"{path} is not a complete {kind.split()[-1]} ({type(err).__name__}: {err}); make it "
            "again."
        ) from err
    if problem:
        raise ModelFileError(f"{path} is inconsistent: {problem}; make it again.")
    return made


def read_kind(path, kinds):
    """The kind of a file that `save_tensors` wrote, one of `kinds`; arrays are not read.

    Raises
    ------
    ModelFileError
        If the file is missing, not safetensors or of another kind.
    """
    return _read(path, kinds, arrays=False)[1]["kind"]


def bundled(*folders):
    """Files of tensors that come with the package, by name: {name: path}."""
    folder = Path(__file__).parent.joinpath("data", *folders)
    return {p.stem: p for p in sorted(folder.glob("*.safetensors"))}


def find_bundled(name, known, what):
    """The path of a bundled file by its name, or of any file.

    Parameters
    ----------
    name : str or path-like
    known : dict
        Of `bundled`.
    what : str
        For the error: "emulator".

    Raises
    ------
    ModelFileError
        If there is neither.
    """
    path = known.get(str(name), name)
    if not isinstance(path, str | os.PathLike) or not Path(path).is_file():
        raise ModelFileError(
            f"There is no {what} {str(name)!r}: it is not a file, and the bundled ones are "
            f"{', '.join(known) or '(none)'}."
        )
    return str(path)


def _read(path, kinds, arrays=True):
    path = Path(path)
    if not path.is_file():
        raise ModelFileError(f"{path} does not exist; check the path.")
    try:
        with safe_open(str(path), framework="np") as f:
            text = (f.metadata() or {}).get("manifest")
            tensors = {k: f.get_tensor(k) for k in f.keys()} if arrays else {}
    except (SafetensorError, OSError, ValueError) as err:
        raise ModelFileError(
            f"{path} is not a complete safetensors file ({err}); it is truncated or of another "
            "format (pickles are never loaded): copy or make it again."
        ) from err
    try:
        manifest = json.loads(text)
        found = manifest["kind"]
    except (TypeError, ValueError, KeyError, RecursionError) as err:
        raise ModelFileError(
            f"{path} has no prospect_emu manifest; it was written by another program."
        ) from err
    if found not in kinds:
        expected = " or ".join(repr(k) for k in kinds)
        raise ModelFileError(f"{path} holds a {found!r}, not a {expected}; pass the right file.")
    return tensors, manifest
