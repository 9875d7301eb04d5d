"""Ingredients of the spectra: FSPS's tables in a file, named, with what made them.

Simple stellar populations, nebular, dust-emission and AGN templates on FSPS's
wavelengths. Lengths of all axes come from the file. Spectra are stored as 16-bit
logarithms (see `prospect_emu.sps.packing`); reading a file never executes code.

A file holds everything, or stars alone and the name of the file beside it that
holds the rest (the bundled ones share it).
"""

import json
import math
import os
import warnings
from dataclasses import fields
from functools import lru_cache
from pathlib import Path

import numpy as np
from safetensors import safe_open

from ..errors import ModelFileError, SetupError
from ..files import load_tensors, save_tensors
from ..parameters import DEFAULTS, INGREDIENTS, PARAMETERS, matters
from .constants import LNU_UNIT, PHOTON_UNIT
from .contents import Ingredients
from .installed import installed_fsps
from .packing import pack, tilt_dust, tilt_stars, unpack, unpack_log

KIND = "prospect_emu ingredients"
SCHEMA = 1
BUNDLED = Path(__file__).parents[1] / "data" / "ingredients"
COMMAND = "prospect-emu ingredients"
# log10 from FSPS's units of the nebular tables to those of `Ingredients`, and FSPS's floor.
TO_UNIT = float(np.log10(PHOTON_UNIT / LNU_UNIT))
NEBULAR_FLOOR = TO_UNIT - 95.0
_STARS = ("log_age", "logz", "stars_lnu", "stars_mass", "stars_loglbol", "photons")
_PACKED = ("stars_lnu", "neb_logcont", "dust_lnu")


# ---- files --------------------------------------------------------------------------


def _encode(ingredients, names):
    out = {}
    for name in names:
        values = getattr(ingredients, name)
        if name == "stars_lnu":
            values = values * tilt_stars(ingredients.wave)
        elif name == "neb_logcont":
            values = 10.0 ** np.asarray(values, dtype=float)
        elif name == "dust_lnu":
            values = values * tilt_dust(ingredients.wave)[-values.shape[-1] :]
        if name in _PACKED:
            out[name], out[f"{name}_top"] = pack(np.asarray(values, dtype=float))
        else:
            out[name] = values
    return out


def _decode(tensors):
    out = {k: v for k, v in tensors.items() if not k.endswith("_top")}
    tilts = {"stars_lnu": tilt_stars(tensors["wave"]), "dust_lnu": tilt_dust(tensors["wave"])}
    for name, tilt in tilts.items():
        lnu = unpack(tensors[name], tensors[f"{name}_top"])
        out[name] = np.divide(lnu, tilt[-lnu.shape[-1] :], out=lnu, casting="same_kind")
    out["neb_logcont"] = unpack_log(
        tensors["neb_logcont"], tensors["neb_logcont_top"], NEBULAR_FLOOR
    )
    return out


def write_ingredients(path, ingredients, shared=None):
    """Write ingredients into a safetensors file.

    Parameters
    ----------
    path : path-like
    ingredients : Ingredients
    shared : str, optional
        Name of a file in the same folder, written by `write_shared`, which holds all but
        the stars.
    """
    names = [f.name for f in fields(Ingredients) if f.name not in ("line_names", "manifest")]
    if shared:
        names = list(_STARS)
    manifest = ingredients.manifest | {"kind": KIND, "schema": SCHEMA}
    manifest["shared"] = shared
    manifest["line_names"] = [] if shared else list(ingredients.line_names)
    save_tensors(path, _encode(ingredients, names), manifest)


def write_shared(path, ingredients):
    """Write all but the stars, for several files of stars to share."""
    names = [f.name for f in fields(Ingredients) if f.name not in ("line_names", "manifest")]
    manifest = {k: ingredients.manifest.get(k) for k in ("label", "libraries", "versions")}
    manifest |= {"kind": f"{KIND}, shared", "line_names": list(ingredients.line_names)}
    save_tensors(path, _encode(ingredients, [n for n in names if n not in _STARS]), manifest)


@lru_cache(maxsize=2)
def _read_shared(path):
    return load_tensors(path, f"{KIND}, shared")


def read_ingredients(path, agb_dust=True):
    """Read a file of ingredients.

    Parameters
    ----------
    path : path-like
        Of `write_ingredients`.
    agb_dust : bool
        Whether with FSPS's dust shells around AGB stars. Without them only where the file
        tells the difference.

    Raises
    ------
    ModelFileError
        If the file is missing, damaged or of another kind.
    """
    path = Path(path)
    tensors, manifest = load_tensors(path, KIND)
    if manifest.get("schema") != SCHEMA:
        raise ModelFileError(
            f"{path} has the layout {manifest.get('schema')!r} of ingredients; this version reads "
            f"{SCHEMA}: make it again."
        )
    names = manifest["line_names"]
    if manifest.get("shared"):
        rest, described = _read_shared(path.with_name(manifest["shared"]))
        tensors, names = {**rest, **tensors}, described["line_names"]
    arrays = _decode(tensors)
    if not agb_dust:
        arrays["stars_lnu"] = _without_agb_dust(path, arrays["stars_lnu"], manifest)
        manifest = manifest | {"parameters": manifest["parameters"] | {"add_agb_dust_model": False}}
    return Ingredients(**arrays, line_names=tuple(names), manifest=manifest)


# ---- with and without AGB dust ---------------------------------------------------


AGB_KIND = "prospect_emu ingredients, AGB dust"


def _without_agb_dust(path, stars, manifest):
    """Stars (nz, nage, nwave) less the dust of AGB stars, from a low-rank difference."""
    where = manifest.get("agb_dust")
    if where is None:
        raise SetupError(f"{path} does not say what its stars are without AGB dust.")
    g, _ = load_tensors(path.with_name(where["file"]), AGB_KIND)
    left = g[f"left_{where['name']}"] * g[f"left_{where['name']}_scale"]
    change = left @ (g["right"] * g["right_scale"][:, None])
    stars = stars.copy()
    part = stars[:, g["first_age"].item() :, g["first_wave"].item() :]
    part *= np.exp(change)
    return stars


# ---- finding them --------------------------------------------------------------------


def user_folder():
    """Where a user's own files of ingredients are looked for.

    ``$PROSPECT_EMU_INGREDIENTS``, or ``~/.local/share/prospect_emu/ingredients``.
    """
    given = os.environ.get("PROSPECT_EMU_INGREDIENTS")
    return Path(given) if given else Path.home() / ".local/share/prospect_emu/ingredients"


@lru_cache(maxsize=64)
def _manifest(path, modified):
    with safe_open(str(path), framework="np") as f:
        return json.loads((f.metadata() or {})["manifest"])


def list_ingredients(folders=None):
    """Paths and manifests of the ingredients in `folders`, the user's own first.

    Files that cannot be read are left out.
    """
    found = []
    for folder in (user_folder(), BUNDLED) if folders is None else folders:
        for path in sorted(Path(folder).glob("*.safetensors")):
            try:
                manifest = _manifest(path, path.stat().st_mtime_ns)
            except Exception:  # a foreign file may be anything
                continue
            if manifest.get("kind") == KIND:
                found.append((path, manifest))
    return found


def find_ingredients(folders=None, **parameters):
    """Ingredients with given values of FSPS's stellar parameters.

    The user's own come first; of several, those with the libraries, then the version, of the
    FSPS installed here, then the newest file.

    Parameters
    ----------
    folders : sequence of path-like, optional
        Where to look; by default in the user's folder, then among the bundled ones.
    **parameters
        Any of `prospect_emu.parameters.INGREDIENTS`; absent ones are FSPS's defaults.

    Returns
    -------
    Ingredients
        Read once per process.

    Raises
    ------
    SetupError
        If there are none; says for which value, and which command makes them.
    """
    unknown = [k for k in parameters if k not in INGREDIENTS]
    if unknown:
        what = "acts on " + PARAMETERS[unknown[0]].acts_on if unknown[0] in PARAMETERS else "none"
        raise SetupError(
            f"{unknown[0]} is not a parameter of the stars ({what}); theirs are "
            f"{', '.join(INGREDIENTS)}."
        )
    text = [k for k, v in parameters.items() if np.asarray(v).dtype.kind not in "fiub"]
    if text:
        raise SetupError(f"{text[0]} is {parameters[text[0]]!r}; give FSPS's number.")
    wanted = {k: DEFAULTS[k] for k in INGREDIENTS} | parameters
    best, fitting = None, []
    for path, manifest in list_ingredients(folders):
        for agb in (True, False) if manifest.get("agb_dust") else (None,):
            have = {**DEFAULTS, **manifest["parameters"]}
            if agb is not None:
                have["add_agb_dust_model"] = agb
            differ = different(wanted, have)
            if not differ:
                fitting.append((path, manifest, agb is not False))
            if best is None or len(differ) < len(best):
                best = differ
    if fitting:
        path, _, agb_dust = _preferred(fitting)
        return _cached(path, path.stat().st_mtime_ns, agb_dust)
    name = best[0] if best else "imf_type"
    # All of them: what differs from the nearest file is not all that the new one needs.
    options = " ".join(f"{k}={_plain(wanted[k])}" for k in different(wanted, DEFAULTS))
    raise SetupError(
        f"There are no ingredients with {name}={_plain(wanted[name])}; make them of your FSPS "
        f"with `{COMMAND} {options}`."
    )


def read_made_by(described, where):
    """Ingredients that were made by the same FSPS with the same parameters.

    Parameters
    ----------
    described : dict
        ``libraries``, ``versions`` and ``parameters`` of a manifest.
    where : str
        The file that needs them.

    Raises
    ------
    SetupError
        If there are none; says which command makes them.
    """

    def made(manifest):
        # Prospector has no part in it.
        versions = {k: v for k, v in manifest["versions"].items() if k != "astro-prospector"}
        stars = {k: DEFAULTS[k] for k in INGREDIENTS} | manifest["parameters"]
        return list(manifest["libraries"]), versions, stars

    for path, manifest in list_ingredients():
        if made(manifest) == made(described):
            return _cached(path, path.stat().st_mtime_ns, True)
    wanted = {k: v for k, v in described["parameters"].items() if v != DEFAULTS[k]}
    options = " ".join(f"{k}={_plain(v)}" for k, v in wanted.items())
    raise SetupError(
        f"{where} needs ingredients of {'/'.join(described['libraries'])}, which are neither "
        f"bundled nor in {user_folder()}; make them of that FSPS with `{COMMAND} {options}`, or "
        "copy them there."
    )


def _preferred(fitting):
    """One of (path, manifest, agb_dust) in the first folder that has any."""
    first = [f for f in fitting if f[0].parent == fitting[0][0].parent]
    if len(first) == 1:
        return first[0]
    here = installed_fsps()

    def rank(candidate):
        path, manifest, _ = candidate
        ours = here is not None and tuple(manifest.get("libraries", ())) == here.libraries
        version = (manifest.get("versions") or {}).get("python-fsps")
        return ours, ours and version == here.version, path.stat().st_mtime_ns

    return max(first, key=rank)


def different(wanted, have):
    """Names of the stellar parameters that matter and differ between two dicts of values."""
    return [
        k
        for k in INGREDIENTS
        if matters(k, wanted) and not _same(wanted.get(k, DEFAULTS[k]), have.get(k, DEFAULTS[k]))
    ]


def _same(a, b):
    return math.isclose(_plain(a), _plain(b), rel_tol=1e-9)


def _plain(value):
    return np.asarray(value).squeeze().item()


@lru_cache(maxsize=4)
def _cached(path, modified, agb_dust):
    out = read_ingredients(path, agb_dust)
    if out.manifest.get("note"):
        warnings.warn(out.manifest["note"], stacklevel=4)
    return out
