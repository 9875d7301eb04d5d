"""Exact photometry without a network: for certificates, and as an emulator that does not err.

``EmulatorSPS(exact_emulator(tables, filters), filters)`` goes wherever an emulator goes.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from prospect_emu.errors import SetupError
from prospect_emu.networks.emulator_base import (
    REFERENCE_LOGMASS,
    EmulatorBase,
    reference_scale,
    unmeasured,
)
from prospect_emu.networks.vector import BOX, PARAMETERS
from prospect_emu.observe.filters import curve_hash, load_filters

from .exact import ExactSPS
from .generate import FSPSPhotometry, fsps_versions, require_fsps
from .recipe import Recipe

# What must agree between an emulator and the engine that checks it.
_LIBRARIES = ("libraries", "n_wavelengths", "n_metallicities", "n_ages")
# Vectors per call: the engine's arrays stay within some hundred MB.
_ROWS = 1024


@dataclass(frozen=True, repr=False)
class ExactEmulator(EmulatorBase):
    """`ExactSPS` with the interface of an emulator; `exact_emulator` makes one."""

    exact: ExactSPS
    curves: tuple
    quadrature: str
    projector: object

    def __repr__(self):
        return f"ExactEmulator({self.libraries}, {len(self.filters)} bands)"

    def reference_maggies(self, theta):
        theta = theta.copy()
        theta[:, 0] = REFERENCE_LOGMASS
        flux = self._by_rows(lambda rows: self.exact.photometry(rows, self.projector), theta)
        return flux / reference_scale(REFERENCE_LOGMASS, theta[:, self.index("zred")])[:, None]

    def _mfrac(self, theta):
        return self._by_rows(self.exact.mfrac, theta)

    def _outputs(self, columns):
        curves = tuple(self.curves[i] for i in columns)
        return {"curves": curves, "projector": self.exact.projector(curves, self.quadrature)}

    @staticmethod
    def _by_rows(function, theta):
        with torch.no_grad():
            parts = [
                function(theta[i : i + _ROWS]).double().cpu().numpy()
                for i in range(0, len(theta), _ROWS)
            ]
        return np.concatenate(parts)


def exact_emulator(
    tables, filters, zred=(0.01, 12.0), quadrature="converged", dtype=torch.float32, fixed=None
):
    """No emulator at all, for `EmulatorSPS`: fits whose every likelihood is exact.

    Parameters
    ----------
    tables : path-like or ExactSPS
        What `prospect_emu.training.exact_tables.export_tables` wrote.
    filters : sequence of sedpy.observate.Filter
    zred : (float, float)
        Range of redshifts; that of other parameters is `prospect_emu.networks.vector.BOX`.
    quadrature : {"converged", "sedpy"}
    dtype : torch.dtype
        Of spectra; float32 is about twice as fast and errs by 1e-5.
    fixed : dict, optional
        See `ExactSPS`.

    Returns
    -------
    ExactEmulator
        Its residuals are zero, so that ``sps.inflate(obs)`` adds nothing.
    """
    exact = tables if isinstance(tables, ExactSPS) else ExactSPS(tables, dtype, fixed=fixed)
    curves = tuple(filters)
    return ExactEmulator(
        name="exact",
        parameters=PARAMETERS,
        bounds=np.array([zred if p == "zred" else BOX[p] for p in PARAMETERS], dtype=float),
        filters=tuple(f.name for f in curves),
        filter_hashes=tuple(curve_hash(f) for f in curves),
        **unmeasured(len(curves)),
        manifest={
            "recipe": {"fixed": exact.fixed, "quadrature": quadrature},
            "versions": exact.manifest.get("versions", {"libraries": ["unknown"]}),
            "sha256": exact.manifest.get("sha256"),
        },
        exact=exact,
        curves=curves,
        quadrature=quadrature,
        projector=exact.projector(curves, quadrature),
    )


# ---- engines of `prospect-emu fit --certify` --------------------------------------------


def exact_engine(emulator, tables=None):
    """Exact fluxes by `ExactSPS`; see `prospect_emu.networks.loading.factored_engine`.

    `tables` is a file, by default what ``$PROSPECT_EMU_TABLES`` names; `SetupError` without
    any, if they are of other libraries, or if the emulator fixes what `ExactSPS` cannot change.
    """
    tables = tables or os.environ.get("PROSPECT_EMU_TABLES")
    if not tables:
        raise SetupError(
            "no ExactSPS tables are named; pass --tables FILE or set PROSPECT_EMU_TABLES "
            "(prospect_emu.training.exact_tables.export_tables makes them)"
        )
    exact = exact_emulator(
        Path(tables), load_filters(emulator.filters), quadrature=_quadrature(emulator),
        dtype=torch.float64, fixed=emulator.fixed,
    )  # fmt: skip
    _same_libraries(emulator, exact.manifest["versions"], str(tables))
    return f"ExactSPS, {emulator.libraries}", lambda theta: exact.maggies(theta, check=False)


def fsps_engine(emulator, tables=None):
    """Exact fluxes by python-fsps; as `exact_engine`. `tables` does not matter."""
    require_fsps()
    _same_libraries(emulator, fsps_versions(), f"SPS_HOME={os.environ['SPS_HOME']}")
    photometry = FSPSPhotometry(
        Recipe(filters=emulator.filters, quadrature=_quadrature(emulator), fixed=emulator.fixed)
    )
    return (
        f"python-fsps, {emulator.libraries}",
        lambda theta: np.array([photometry(row)[0] for row in theta]),
    )


def _quadrature(emulator):
    return emulator.manifest["recipe"].get("quadrature", "converged")


def _same_libraries(emulator, versions, where):
    trained = emulator.manifest["versions"]
    other = [k for k in _LIBRARIES if k in trained and trained[k] != versions.get(k)]
    if other:
        raise SetupError(
            f"{where} has other libraries than emulator {emulator.name!r} ({', '.join(other)}: "
            f"{[versions.get(k) for k in other]}, not {[trained[k] for k in other]}), and a "
            "certificate would compare those"
        )
