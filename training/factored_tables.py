"""Packaging of the factored emulator: FSPS's ingredients with measured errors."""

from dataclasses import replace

import numpy as np

from prospect_emu.errors import ProspectEmuError, SetupError
from prospect_emu.networks.emulator_base import reference_scale
from prospect_emu.networks.factored import FactoredEmulator
from prospect_emu.networks.vector import PARAMETERS
from prospect_emu.observe.magnitudes import maggies_to_arsinh
from prospect_emu.parameters import INGREDIENTS
from prospect_emu.sps.ingredients import find_ingredients, user_folder

from .evaluate import package
from .ingredient_tables import make_ingredients


def ingredients_of(test_store, label=None, report=print):
    """Ingredients of the FSPS that made a test set; made in `user_folder` if there are none."""
    fixed = test_store.recipe.fixed
    stars = {k: fixed[k] for k in INGREDIENTS if k in fixed}
    libraries = test_store.manifest["versions"]["libraries"]
    try:
        found = find_ingredients(**stars)
        if list(found.libraries) == list(libraries):
            return found
    except SetupError:
        pass  # they are made
    name = "-".join(["fsps", *libraries, *(f"{k}_{v}" for k, v in sorted(stars.items()))])
    return make_ingredients(user_folder() / f"{name}.safetensors", label, report=report, **stars)


def build(ingredients, test_store, name, label=None):
    """A factored emulator and its measured errors.

    Parameters
    ----------
    ingredients : Ingredients
    test_store : prospect_emu.training.generate.SampleStore
        FSPS samples. Their recipe names bands, fixed parameters and redshifts.
    name : str
    label : str, optional
        See `package`.

    Returns
    -------
    FactoredEmulator
        Its statistics are those of the test set, to which the covariance of what
        folding adds (`folding_residuals`) is added.

    Raises
    ------
    ProspectEmuError
        If the test set was made with other FSPS libraries than the ingredients.
    """
    libraries = test_store.manifest["versions"]["libraries"]
    if list(libraries) != list(ingredients.libraries):
        raise ProspectEmuError(
            f"The samples were made with FSPS libraries {libraries}, the ingredients with "
            f"{list(ingredients.libraries)}; make one of them again."
        )
    training = {"source": "ingredients of python-fsps; nothing is learnt"}
    emulator = package(FactoredEmulator, name, test_store, label, training, ingredients=ingredients)
    folding = np.cov(folding_residuals(emulator, test_store.load()["theta"]), rowvar=False)
    std = np.sqrt(np.diag(folding))
    emulator.manifest["test"] |= {
        "folding_std_median": float(np.median(std)),
        "folding_std_worst": float(std.max()),
    }
    covariance = emulator.covariance + folding
    return replace(emulator, covariance=covariance, sigma_mag=np.sqrt(np.diag(covariance)))


def folding_residuals(emulator, theta, n_redshift=12, n_each=300):
    """Folded minus direct photometry in arsinh magnitudes, at redshifts across the range.

    Parameters
    ----------
    emulator : FactoredEmulator
    theta : ndarray, shape (n, 18)
        Drawn from, apart from the redshift.

    Returns
    -------
    ndarray, shape (n_redshift * n_each, nband)
    """
    zred = PARAMETERS.index("zred")
    rng = np.random.default_rng(0)
    out = []
    for z in np.linspace(*emulator.bounds[zred], n_redshift):
        rows = theta[rng.choice(len(theta), n_each, replace=False)].copy()
        rows[:, zred] = z
        direct = emulator.direct_maggies(rows)
        folded = emulator.at_redshift(z).reference_maggies(rows)
        scale = reference_scale(rows[:, 0], rows[:, zred])[:, None]
        out.append(maggies_to_arsinh(folded * scale) - maggies_to_arsinh(direct * scale))
    return np.concatenate(out)
