"""The AGN torus: templates in optical depth (Nenkova et al. 2008)."""

import numpy as np

from . import constants


def mixture(ingredients, agn_tau):
    """Templates (n, 2) around an optical depth and their weights; the ends hold beyond."""
    return constants.mixture([ingredients.agn_tau], [np.atleast_1d(agn_tau)])


def torus(ingredients, agn_tau):
    """L_nu (n, nwave) of an AGN of one Lsun."""
    index, weight = mixture(ingredients, agn_tau)
    return np.einsum("ni,niw->nw", weight, ingredients.agn_lnu[index])
