"""Emulators as Fortran 2008 modules: source, weights beside it, Makefile and an example.

The module needs nothing but a compiler. It computes in double precision what Python computes
partly in single precision, so that the two agree to the rounding of the latter.
"""

import re
import struct
from importlib.resources import files
from pathlib import Path

import numpy as np

from .. import cosmology
from ..dust.dust_emulator import KIND, DustEmulator, list_dust_emulators, load_dust_emulator
from ..dust.dust_network import ERROR_RANGE, FAINTEST, LOG_SIGMA, MISFIT
from ..errors import SetupError
from ..files import check_writable, read_kind, write_atomic
from ..networks.emulator import Emulator
from ..networks.factored import FactoredEmulator
from ..networks.loading import KINDS, load_emulator
from ..networks.network_inputs import DEPTHS, LEAST_DUST2, LEAST_SHARE
from ..sps.constants import REFERENCE
from .fortran_factored import factored_constants, factored_tables, factored_vectors

_MAGIC = 1347769681
_CHECKSUM_PRIME = 2**31 - 1
_KIND_ID = {"dust": 1, "galaxy": 2, "factored": 3}
_NO_NETWORK = struct.pack("<5i", 0, 0, 0, 0, 0)  # no layers, and four empty vectors
_SPLIT = "!@contains\n"


def load_any(name):
    """A galaxy or dust emulator by bundled name or file, whichever it is."""
    if str(name) in list_dust_emulators():
        return load_dust_emulator(name)
    if Path(name).is_file():
        kind = read_kind(name, (KIND, *KINDS))
        return (load_dust_emulator if kind == KIND else load_emulator)(name)
    return load_emulator(name)


def export_fortran(emulator, folder, overwrite=False):
    """Write an emulator as Fortran source into a folder.

    Parameters
    ----------
    emulator : Emulator, FactoredEmulator or DustEmulator
        Its bands, all of them, are those of the module: see `Emulator.select`.
    folder : path-like
    overwrite : bool

    Returns
    -------
    list of Path
        The module, its weights, the example and the Makefile.

    Raises
    ------
    SetupError
        If this kind of emulator has no Fortran form.
    OutputError
        If the folder cannot be written, or holds such files already.
    """
    if isinstance(emulator, DustEmulator):
        kind, weights, names = "dust", _dust_weights(emulator), _dust_names(emulator)
    elif isinstance(emulator, FactoredEmulator):
        kind, weights, names = "factored", _factored_weights(emulator), _factored_names(emulator)
    elif isinstance(emulator, Emulator):
        kind, weights, names = "galaxy", _galaxy_weights(emulator), _galaxy_names(emulator)
    else:
        raise SetupError(
            f"{emulator!r} has no Fortran form; export a network, a factored or a dust emulator."
        )
    module = "emu_" + re.sub(r"\W", "_", emulator.name.lower())
    module = module[:60]
    stamp = _checksum(weights)
    words = struct.pack("<4i", _MAGIC, _KIND_ID[kind], stamp, len(weights) // 4)
    names |= {
        "MODULE": module,
        "NAME": emulator.name,
        "FILE": f"{module}.bin",
        "SHA": emulator.manifest.get("sha256", "unknown")[:16],
        "MAGIC": str(_MAGIC),
        "KIND": str(_KIND_ID[kind]),
        "STAMP": str(stamp),
        "READ_PROCEDURES": _template("reading.f90"),
    }
    for part in ("network", "box"):
        types, procedures = _template(f"{part}.f90").split(_SPLIT)
        names |= {f"{part.upper()}_TYPES": types, f"{part.upper()}_PROCEDURES": procedures}
    example = "dust_example.f90" if kind == "dust" else "galaxy_example.f90"
    folder = Path(folder)
    parts = {
        f"{module}.f90": _filled(_template(f"{kind}.f90"), names).encode(),
        f"{module}.bin": words + weights,
        "example.f90": _filled(_template(example), names).encode(),
        "Makefile": _filled(_template("Makefile"), names).encode(),
    }
    for name in parts:
        check_writable(folder / name, overwrite)
    for name, data in parts.items():
        write_atomic(folder / name, data)
    return [folder / name for name in parts]


def _template(name):
    return (files("prospect_emu") / "data" / "fortran" / name).read_text()


def _filled(text, names):
    """`text` with each @NAME@ replaced, and those in what replaces it."""
    return re.sub(r"@([A-Z_0-9]+)@", lambda m: _filled(names[m[1]], names), text)


def _checksum(data):
    """Sum of 32-bit words times their positions from one, modulo a prime below 2**31."""
    words = np.frombuffer(data, dtype="<i4").astype(np.int64)
    terms = words * np.arange(1, words.size + 1) % _CHECKSUM_PRIME
    return int(terms.sum() % _CHECKSUM_PRIME)


def _vector(values):
    flat = np.ascontiguousarray(values, dtype="<f8").ravel()
    return struct.pack("<i", flat.size) + flat.tobytes()


def _network(net):
    """Layers as (n_in, n_out), weights and biases in single precision, then the scales.

    A C-ordered (n_in, n_out) array is Fortran's (n_out, n_in).
    """
    out = [struct.pack("<i", len(net.weights))]
    for w, b in zip(net.weights, net.biases, strict=True):
        out.append(struct.pack("<2i", *w.shape))
        out += [np.ascontiguousarray(a, dtype="<f4").tobytes() for a in (w, b)]
    out += [_vector(a) for a in (net.in_mean, net.in_std, net.out_mean, net.out_std)]
    return b"".join(out)


def _strings(names):
    """Elements of a character array, a line each."""
    return ", &\n".join(f"    '{n}'" for n in names)


def _dust_weights(emulator):
    """Vectors in the order in which the module's `load` reads them."""
    net = emulator.net
    vectors = (
        emulator.bounds.T, emulator.wavelengths, emulator.band_wavelengths, net.first_nodes,
        net.second_nodes, net.third_nodes, net.first, net.second, net.third, net.pairs, net.core,
        net.vectors, net.mean,
    )  # fmt: skip
    back = _network(emulator.inverse) if emulator.inverse is not None else _NO_NETWORK
    return b"".join([*map(_vector, vectors), back])


def _dust_names(emulator):
    return {
        "NWAVE": str(emulator.wavelengths.size),
        "NBAND": str(len(emulator.bands)),
        "BANDS": _strings(emulator.band_names),
        "ERROR_LOW": repr(ERROR_RANGE[0]),
        "ERROR_HIGH": repr(ERROR_RANGE[1]),
        "FAINTEST": repr(FAINTEST),
        "LOG_SIGMA": ", ".join(f"{v!r}_dp" for v in LOG_SIGMA),
        "MISFIT": repr(MISFIT),
    }


def _box_vectors(emulator):
    """What every galaxy module reads first: the box and the cosmology."""
    age, distance = cosmology.splines()
    return emulator.bounds[:, 0], emulator.bounds[:, 1], age.x, age.c.T, distance.c.T


def _box_names(emulator):
    places = [f"    i_{name} = {i}" for i, name in enumerate(emulator.parameters, start=1)]
    return {
        "NPARAM": str(len(emulator.parameters)),
        "NBAND": str(len(emulator.filters)),
        "INDICES": ", &\n".join(places),
        "PARAMETERS": _strings(emulator.parameters),
        "BANDS": _strings(emulator.filters),
        "HOW": "",
        "MORE_DECLARATIONS": "",
        "MORE_CASES": "",
    }


def _parts(emulator):
    return emulator.parts or (emulator,)


def _galaxy_weights(emulator):
    parts = _parts(emulator)
    domains = np.array([p.bounds[p.index("zred")] for p in parts])
    nets = [net for p in parts for net in (p.flux_net, p.mfrac_net)]
    return b"".join([*map(_vector, (*_box_vectors(emulator), *domains.T)), *map(_network, nets)])


def _galaxy_names(emulator):
    return _box_names(emulator) | {
        "NPART": str(len(_parts(emulator))),
        "NDEPTH": str(len(DEPTHS)),
        "DEPTHS": ", ".join(f"{at / REFERENCE!r}_dp" for at in DEPTHS),
        "LEAST_SHARE": f"{LEAST_SHARE!r}_dp",
        "LEAST_DUST2": f"{LEAST_DUST2!r}_dp",
    }


def _factored_weights(emulator):
    vectors = (*_box_vectors(emulator), *factored_vectors(emulator))
    tables = [np.ascontiguousarray(a, dtype="<f4").tobytes() for a in factored_tables(emulator)]
    return b"".join([*map(_vector, vectors), *tables])


def _factored_names(emulator):
    declarations, cases = _template("factored_example.f90").split(_SPLIT)
    return (
        _box_names(emulator)
        | factored_constants(emulator)
        | {
            "HOW": ', with "prepared" all at\n! the redshift of the first; '
            'with "spectrum" spectra are written instead',
            "MORE_DECLARATIONS": declarations,
            "MORE_CASES": cases,
        }
    )
