"""Emulators as Fortran 2008 modules: source, weights beside it, Makefile and an example.

The module needs nothing but a compiler. It computes in double precision what Python computes
partly in single precision, so that the two agree to the rounding of the latter.
"""

import hashlib
import re
import struct
from importlib.resources import files
from pathlib import Path

import numpy as np

from . import sfh
from .dust import KIND, DustEmulator, list_dust_emulators, load_dust_emulator
from .emulator import KIND as EMULATOR_KIND
from .emulator import Emulator, load_emulator
from .errors import SetupError
from .factored import KIND as FACTORED_KIND
from .files import check_writable, read_kind, write_atomic

_MAGIC = 1347769681
_SPLIT = "!@contains\n"


def load_any(name):
    """A galaxy or dust emulator by bundled name or file, whichever it is."""
    if str(name) in list_dust_emulators():
        return load_dust_emulator(name)
    if Path(name).is_file():
        kind = read_kind(name, (KIND, EMULATOR_KIND, FACTORED_KIND))
        return (load_dust_emulator if kind == KIND else load_emulator)(name)
    return load_emulator(name)


def export_fortran(emulator, folder, overwrite=False):
    """Write an emulator as Fortran source into a folder.

    Parameters
    ----------
    emulator : Emulator or DustEmulator
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
    elif isinstance(emulator, Emulator):
        kind, weights, names = "galaxy", _galaxy_weights(emulator), _galaxy_names(emulator)
    else:
        raise SetupError(
            f"{emulator!r} has no Fortran form: its spectra are integrals over stellar "
            "populations, not a network's output; export a plain or a dust emulator."
        )
    module = "emu_" + re.sub(r"\W", "_", emulator.name.lower())
    module = module[:60]
    stamp = int.from_bytes(hashlib.sha256(weights).digest()[:4], "big") >> 2
    words = struct.pack("<3i", _MAGIC, {"dust": 1, "galaxy": 2}[kind], stamp)
    types, procedures = _template("network.f90").split(_SPLIT)
    names |= {
        "MODULE": module,
        "NAME": emulator.name,
        "FILE": f"{module}.bin",
        "SHA": emulator.manifest.get("sha256", "unknown")[:16],
        "STAMP": str(stamp),
        "NETWORK_TYPES": types,
        "NETWORK_PROCEDURES": procedures,
        "READ_PROCEDURES": _template("reading.f90"),
    }
    folder = Path(folder)
    parts = {
        f"{module}.f90": _filled(_template(f"{kind}.f90"), names).encode(),
        f"{module}.bin": words + weights,
        "example.f90": _filled(_template(f"{kind}_example.f90"), names).encode(),
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
    return re.sub(r"@([A-Z_]+)@", lambda m: names[m[1]], text)


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
    return b"".join(map(_vector, vectors))


def _dust_names(emulator):
    return {
        "NWAVE": str(emulator.wavelengths.size),
        "NBAND": str(len(emulator.bands)),
        "BANDS": _strings(emulator.band_names),
    }


def _galaxy_weights(emulator):
    age, distance = sfh._cosmology_splines()
    vectors = (emulator.bounds[:, 0], emulator.bounds[:, 1], age.x, age.c.T, distance.c.T)
    nets = (emulator.flux_net, emulator.mfrac_net)
    return b"".join([*map(_vector, vectors), *map(_network, nets)])


def _galaxy_names(emulator):
    known = {"IZRED": "zred", "ILOGZSOL": "logzsol", "IRATIO": "logsfr_ratios_1"}
    index = {name: emulator.index(p) + 1 for name, p in known.items()}
    return {
        "NPARAM": str(len(emulator.parameters)),
        "NBAND": str(len(emulator.filters)),
        "PARAMETERS": _strings(emulator.parameters),
        "BANDS": _strings(emulator.filters),
        **{k: str(v) for k, v in index.items()},
    }
