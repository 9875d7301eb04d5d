"""What results say of each fit, as columns, and a copy of it that spares reading all files."""

import numpy as np

from ..files import write_atomic

# Columns of bands: how far a flux is off, in errors and as a fraction.
CHI, OFFSET = "chi:", "offset:"
FILE = "rows.npz"
_BLANK = {"f": np.nan, "i": -1, "u": 0, "b": False, "U": ""}
_CHUNK = 1000


def of_record(record):
    """The row of a fit from what its file holds, see `prospect_emu.fits.work`."""
    row = dict(record["row"])
    row |= {k: record[k] for k in ("seconds_outside", "memory_mb", "seconds")}
    for band, (chi, offset) in record["bands"].items():
        row[CHI + band], row[OFFSET + band] = chi, offset
    return row


def columns(rows):
    """Rows, dictionaries, as columns; blank where a row lacks one."""
    out = {}
    for name in dict.fromkeys(name for row in rows for name in row):
        at = [i for i, row in enumerate(rows) if row.get(name) is not None]
        values = np.array([rows[i][name] for i in at]) if at else np.zeros(0)
        out[name] = _spread([(at, values)], len(rows))
    return out


def stack(parts, n):
    """Pairs of places and columns as columns of `n` rows; blank where there is none."""
    names = dict.fromkeys(name for _, part in parts for name in part)
    return {name: _spread([(at, p[name]) for at, p in parts if name in p], n) for name in names}


def _spread(pieces, n):
    kind = np.result_type(*(values.dtype for _, values in pieces))
    out = np.full(n, _BLANK.get(kind.kind, ""), dtype=kind)
    for at, values in pieces:
        out[at] = values
    return out


def collect(keys, stamps, read, path):
    """Columns of the results of some fits, those of unchanged files from the copy in `path`.

    Parameters
    ----------
    keys : sequence of Key
    stamps : sequence of (int, int)
        Size and time of each file.
    read : callable
        Key -> what the file holds.
    path : path-like

    Returns
    -------
    columns : dict of str -> ndarray, shape (nfit,)
    new : bool
        Whether any file was read.
    """
    n, stamps = len(keys), np.reshape(np.array(stamps, dtype=np.int64), (-1, 2))
    names = np.array([key.name for key in keys], dtype=str)
    old = _load(path)
    known = {name: i for i, name in enumerate(old.pop("fit", np.zeros(0, str)).tolist())}
    at = np.array([known.get(name, -1) for name in names], dtype=int)
    there = np.flatnonzero(at >= 0)
    if there.size:
        there = there[(old["stamp"][at[there]] == stamps[there]).all(axis=1)]
    parts = [(there, {k: v[at[there]] for k, v in old.items() if k != "stamp"})]
    rest = np.setdiff1d(np.arange(n), there)
    for start in range(0, rest.size, _CHUNK):
        some = rest[start : start + _CHUNK]
        parts.append((some, columns([of_record(read(keys[i])) for i in some])))
    return stack(parts, n), bool(rest.size)


def save(path, keys, stamps, found):
    """Keep columns for the next `collect`."""
    names = np.array([key.name for key in keys], dtype=str)
    stamps = np.reshape(np.array(stamps, dtype=np.int64), (-1, 2))
    arrays = {f"column {i}": values for i, values in enumerate(found.values())}
    about = {"fit": names, "stamp": stamps, "names": np.array(list(found), dtype=str)}
    write_atomic(path, lambda f: np.savez(f, **about, **arrays))


def _load(path):
    try:
        with np.load(path) as f:
            out = {name: f[f"column {i}"] for i, name in enumerate(f["names"].tolist())}
            return {**out, "fit": f["fit"], "stamp": f["stamp"]}
    except Exception:  # an incomplete copy may hold anything; the result files decide
        return {}
