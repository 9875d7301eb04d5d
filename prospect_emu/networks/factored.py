"""The factored emulator: the exact physics of `prospect_emu.sps` for the 18-parameter model.

For this model the spectrum is linear in nearly everything: in the masses of the
age bins, in the populations on both sides of a metallicity, in the nebular,
dust and AGN templates around a point of their grids (Mathews et al. 2023 learn
all of it with one network). What is not linear is known in closed form. So
nothing needs to be learnt: `FactoredEmulator` hands FSPS's parameters to
`prospect_emu.sps` and knows how far that is from FSPS.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property

import numpy as np

from ..observe.filters import load_filters
from ..parameters import DEFAULTS
from ..sps.fold import Compiled
from ..sps.ingredients import Ingredients, read_made_by
from ..sps.spectrum import spectrum, surviving
from . import sfh
from .emulator_base import REFERENCE_LOGMASS, EmulatorBase, reference_scale
from .factored_file import own_ingredients
from .vector import PARAMETERS, fsps_parameters

_ZRED = PARAMETERS.index("zred")
# Rows of one redshift from which on folding is cheaper than spectra.
_FOLD_FROM = 200


@dataclass(frozen=True, repr=False)
class FactoredEmulator(EmulatorBase):
    """FSPS photometry of the 18-parameter model without a network.

    The interface of `prospect_emu.networks.emulator.Emulator`. Its file names `ingredients`;
    where they are is found by what made them.
    """

    ingredients: Ingredients

    def __repr__(self):
        return f"FactoredEmulator({self.name!r}, {len(self.filters)} bands)"

    # ---- what a user asks for ----------------------------------------------

    def reference_maggies(self, theta):
        """Fluxes at the reference mass and distance, (n, nband) of `theta` (n, 18), unchecked.

        Where `_FOLD_FROM` rows or more share a redshift they cost microseconds each
        (`at_redshift`), others some milliseconds (`direct_maggies`).
        """
        theta = np.asarray(theta, dtype=float)
        out = np.empty((len(theta), len(self.filters)))
        values, which, count = np.unique(theta[:, _ZRED], return_inverse=True, return_counts=True)
        for i in np.flatnonzero(count >= _FOLD_FROM):
            out[which == i] = self.at_redshift(values[i]).reference_maggies(theta[which == i])
        few = count[which] < _FOLD_FROM
        if few.any():
            out[few] = self.direct_maggies(theta[few])
        return out

    def direct_maggies(self, theta):
        """`reference_maggies` from whole spectra, whatever the redshifts: slower, exact."""
        theta = np.asarray(theta, dtype=float)
        params = self._at_reference_mass(theta)
        # Rows of one redshift together: they share the bands' weights.
        order = np.argsort(theta[:, _ZRED], kind="stable")
        made = Compiled(self.ingredients, self._curves, self._fixed, tuple(params), **self._how)
        out = np.empty((len(theta), len(self.filters)))
        out[order] = made.direct({k: v[order] for k, v in params.items()})
        return out / reference_scale(REFERENCE_LOGMASS, theta[:, _ZRED])[:, None]

    def at_redshift(self, zred):
        """The emulator at one redshift: microseconds per parameter vector; the last one is kept."""
        self.check_redshift(zred)
        if zred not in self._folded:
            self._folded.clear()
            self._folded[zred] = _AtRedshift(self, float(zred))
        return self._folded[zred]

    def spectrum(self, theta, check=True, **switches):
        """Rest-frame spectra, IGM absorption included.

        Parameters
        ----------
        theta : array_like, shape (n, 18)
        check : bool
            Whether vectors outside the box are refused.
        **switches
            FSPS's parameters in place of the vectors', such as ``add_neb_emission=False``.

        Returns
        -------
        ndarray, shape (n, nwave)
            L_nu in Lsun/Hz at `wavelengths`, of ``10**logmass`` Msun formed.
        """
        theta = np.asarray(theta, dtype=float)
        if check:
            self.check(theta)
        params = self._fixed | self._at_reference_mass(theta) | switches
        lnu = spectrum(self.ingredients, params).lnu
        return lnu * 10.0 ** (theta[:, :1] - REFERENCE_LOGMASS)

    def _mfrac(self, theta):
        return surviving(self.ingredients, self._fixed | fsps_parameters(theta))

    @staticmethod
    def _at_reference_mass(theta, durations=None):
        theta = theta.copy()
        theta[:, 0] = REFERENCE_LOGMASS
        return fsps_parameters(theta, durations)

    @property
    def wavelengths(self):
        """Rest-frame wavelengths in Angstrom, shape (nwave,)."""
        return self.ingredients.wave

    @property
    def _fixed(self):
        return {k: v for k, v in self.fixed.items() if k in DEFAULTS}

    @property
    def _how(self):
        return {"quadrature": self.manifest["recipe"].get("quadrature", "converged")}

    @cached_property
    def _folded(self):
        return {}

    @cached_property
    def _curves(self):
        return [_curve(name) for name in self.filters]

    # ---- files ------------------------------------------------------------------

    KIND, SCHEMA = "prospect_emu factored emulator", 1

    def save(self, path):
        """Write all but the ingredients, which the file names, into one safetensors file."""
        described = self.ingredients.manifest
        described = {k: described[k] for k in ("libraries", "versions", "parameters")}
        named = replace(self, manifest=self.manifest | {"ingredients": described})
        super(FactoredEmulator, named).save(path)

    def _tensors(self):
        return {}

    @classmethod
    def _from_tensors(cls, common, tensors, where):
        manifest = common["manifest"]
        if "ingredients" in manifest:
            return cls(**common, ingredients=read_made_by(manifest["ingredients"], where))
        return cls(**common, ingredients=own_ingredients(tensors, manifest))

    def _outputs(self, columns):
        return {}


@cache
def _curve(name):
    """A filter of the library, read once: a campaign selects other bands for each galaxy."""
    return load_filters([name])[0]


class _AtRedshift:
    """The factored emulator at one redshift; made by `FactoredEmulator.at_redshift`."""

    def __init__(self, source, zred):
        self._durations = sfh.bin_durations(zred)
        self._scale = 1.0 / reference_scale(REFERENCE_LOGMASS, zred)
        box = dict(zip(source.parameters, source.bounds, strict=True))
        ranges = {k: tuple(box[k]) for k in ("dust2", "dust_index")}
        ranges["dust1"] = 0.0, box["dust2"][1] * box["dust1_fraction"][1]
        fixed = source._fixed | {"zred": zred, "agebins": sfh.agebins(zred)}
        free = tuple(fsps_parameters(source.bounds[:, 0][None], self._durations))
        self._parameters = source._at_reference_mass
        self.compiled = Compiled(
            source.ingredients, source._curves, fixed, free, ranges, **source._how
        )
        self.compiled.fold()

    def reference_maggies(self, theta):
        """Fluxes at the reference mass and distance, (n, nband) of `theta` (n, 18), unchecked.

        The redshift column is not looked at.
        """
        theta = np.asarray(theta, dtype=float)
        flux = self.compiled.maggies(self._parameters(theta, self._durations))
        flux *= self._scale
        return flux

    def mfrac(self, theta, check=False):
        """Surviving mass fraction (n,) of `theta` (n, 18), unchecked."""
        return self.compiled.mfrac(self._parameters(theta, self._durations))
