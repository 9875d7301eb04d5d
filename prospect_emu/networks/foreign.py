"""Networks of other programs, Parrot's (Mathews et al. 2023) and Speculator's, as files of ours."""

from dataclasses import replace

import numpy as np

from ..errors import FilterError, ModelFileError
from ..observe.filters import curve_hash, load_filters
from .emulator_base import unmeasured
from .loading import load_emulator
from .network import MLP
from .parrot import ParrotEmulator
from .speculator import from_speculator
from .unpickling import load_arrays
from .vector import BOX, FIXED, PARAMETERS

# Whose surviving mass is taken, since Parrot has none, and whose redshifts have the same bins.
_MASSES = "mathews23-256"
_LABEL = "MIST, MILES (Parrot)"
_GELU = ("gelu", "GELU")


def convert(path, name):
    """A ``.npy`` file of Parrot, or a pickle of Speculator, as what our files hold.

    Parameters
    ----------
    path : path-like
    name : str
        Of the emulator.

    Returns
    -------
    emulator : ParrotEmulator or SpectrumNetwork
    notes : list of str
        What was left out.

    Raises
    ------
    ModelFileError
        If the file is in none of these layouts, or holds anything but arrays.
    """
    data = load_arrays(path)
    if isinstance(data, (list, tuple)):
        note = "It gives log spectra in its trainer's units; see SpectrumNetwork."
        return from_speculator(path, data), [note]
    try:
        given = _stitched(data) if isinstance(data, dict) else _single(data)
        return _packaged(name, *given)
    except (KeyError, IndexError, TypeError, ValueError) as err:
        raise ModelFileError(
            f"{path} is not in a layout of Parrot ({type(err).__name__}: {err}); a single network "
            "is an array of six objects, a stitched one a dictionary with 'nets'."
        ) from err


def _single(data):
    filters, inputs, (weights, biases), outputs, residuals, limits = data
    order = {int(i) - 1: str(name) for name, i in filters.items()}
    net = _network(inputs, outputs, weights, biases, _GELU[0])
    residuals = np.asarray(residuals, dtype=float)
    statistics = {
        "quantiles": residuals[:, :9], "bias_mag": residuals[:, 9], "sigma_mag": residuals[:, 10],
        "covariance": np.diag(residuals[:, 10] ** 2),
    }  # fmt: skip
    bounds = np.asarray(limits, dtype=float).reshape(-1, 2)
    zred = PARAMETERS.index("zred")
    return [order[i] for i in range(len(order))], [net], [bounds[zred].tolist()], bounds, statistics


def _stitched(data):
    order = {int(i): str(name) for name, i in data["filter_redir"].items()}
    nets = [_network(*net) for net in data["nets"]]
    if int(data["zred_index"]) != PARAMETERS.index("zred"):
        raise ValueError(f"zred_index = {data['zred_index']}")
    edges = np.asarray(data["emulator_limits"], dtype=float)
    if not np.allclose(edges[1:, :2], edges[:-1, 2:]):
        raise ValueError("neighbouring networks fade in other places")
    low, high = edges[:, 0] - 0.5 * edges[:, 1], edges[:, 2] + 0.5 * edges[:, 3]
    bounds = np.asarray(data["parameter_limits"], dtype=float).reshape(-1, 2)
    domains = np.stack([low, high], axis=1).tolist()
    return [order[i] for i in range(len(order))], nets, domains, bounds, None


def _network(norm, denorm, weights, biases, activation):
    if str(activation) not in _GELU:
        raise ValueError(f"activation {activation}, where gelu is known")
    single = [np.ascontiguousarray(np.asarray(w, dtype=np.float32).T) for w in weights]
    scale = (np.asarray(a, dtype=float).ravel() for a in (*norm, *denorm))
    return MLP(
        tuple(single), tuple(np.asarray(b, dtype=np.float32).ravel() for b in biases), *scale
    )


def _packaged(name, filters, nets, domains, bounds, statistics):
    """The emulator of the bands that sedpy knows, at the redshifts of our age bins."""
    known, hashes, notes = [], [], []
    for i, band in enumerate(filters):
        try:
            hashes.append(curve_hash(load_filters([band])[0]))
            known.append(i)
        except FilterError:
            notes.append(f"{band} is left out: neither sedpy nor prospect_emu has its curve.")
    masses = load_emulator(_MASSES)
    zred, bounds = PARAMETERS.index("zred"), bounds.copy()
    low, high = bounds[zred]
    bounds[zred] = max(low, BOX["zred"][0]), min(high, BOX["zred"][1])
    if (bounds[zred] != (low, high)).any():
        notes.append(
            f"Redshifts are {bounds[zred, 0]:g} to {bounds[zred, 1]:g}, of {low:g} to {high:g}: "
            "beyond, its age bins are others, and the surviving mass is not known."
        )
    if statistics is None:
        statistics = unmeasured(len(filters))
        notes.append("Its errors are not known: measure them with prospect-emu evaluate.")
    notes.append(f"The surviving mass is that of {_MASSES} ({masses.libraries}).")
    manifest = {
        "recipe": {"fixed": dict(FIXED)}, "versions": {"libraries": ["MIST", "MILES"]},
        "label": _LABEL, "domains": domains, "notes": notes,
    }  # fmt: skip
    whole = ParrotEmulator(
        name=name, parameters=PARAMETERS, bounds=bounds, filters=tuple(filters),
        filter_hashes=("",) * len(filters), **statistics, manifest=manifest,
        mfrac_net=masses.mfrac_net, nets=tuple(nets),
    )  # fmt: skip
    problem = whole._inconsistency()
    if problem:
        raise ValueError(problem)
    out = whole.select([filters[i] for i in known])
    return replace(out, filter_hashes=tuple(hashes)), notes
