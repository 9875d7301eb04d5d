"""What a fit asks for fluxes: an emulator, the exact batched SPS, or FSPS itself.

A campaign names them by plain strings: the name or file of an emulator;
"exact:TABLES", ExactSPS on the tables that ``prospect_emu.training.exact_tables``
exports; "fsps", python-fsps through Prospector's own `fit_model`. `BACKENDS`
is the registry: the word before the colon -> a function of the rest.
"""

import os
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import SetupError
from ..fit.certificate import find_engine
from ..fit.result import FitResult
from ..networks.emulator_base import EmulatorBase, reference_scale
from ..networks.loading import load_emulator
from ..networks.vector import BOX, FIXED, PARAMETERS
from ..observe.filters import curve_hash, load_filters
from ..prospector.drop_in import EmulatorSpecModel, EmulatorSPS
from ..prospector.mathews23 import model_params
from ..sampling.settings import NestedSettings

EXACT_ZRED = (0.01, 12.0)
TABLES_VARIABLE = "PROSPECT_EMU_TABLES"


class Backend:
    """An emulator of any kind in a fit by `prospect_emu.fit_model`.

    Attributes
    ----------
    label : str
        Short name, which files and tables use.
    emulator : Emulator
    """

    certifiable = True  # exact fluxes need no certificate
    keeps_time = True  # its sampler ends at `FitConfig.max_seconds`

    def __init__(self, label, emulator):
        self.label, self.emulator = label, emulator

    @property
    def bands(self):
        """Names of the bands that it knows; None for all."""
        return self.emulator.filters

    @property
    def zred_range(self):
        return tuple(float(z) for z in self.emulator.bounds[self.emulator.index("zred")])

    def identity(self):
        """What distinguishes this one from others of its name; JSON."""
        return {"name": self.emulator.name, "sha256": self.emulator.manifest.get("sha256")}

    def fit(self, obs, config, seed):
        """Fit one galaxy.

        Parameters
        ----------
        obs : dict
        config : FitConfig
        seed : int

        Returns
        -------
        FitResult
        """
        from ..fit.fitting import fit_model

        sps = _sps(self, tuple(obs["filters"]))
        model = EmulatorSpecModel(model_params(zred=obs["zred"]))
        if config.inflate:
            obs = sps.inflate(obs)
        more = {"seed": seed, "progress": False, "max_seconds": config.max_seconds}
        if config.queue_size is not None:
            more["queue_size"] = config.queue_size
        if config.certificate and self.certifiable:
            _engine(sps, config.tables)  # found before the fit, so that none is missing after it
        output = fit_model(obs, model, sps, preset=config.preset, **nested_keywords(config), **more)
        result = FitResult.from_run(
            output, model, obs, sps, seed=seed, settings={"emulator": self.label}
        )
        return self.certify(result, obs, config, seed)

    def certify(self, result, obs, config, seed):
        """A result with the certificate that the configuration asks for."""
        if not (config.certificate and self.certifiable):
            return result
        name, exact = _engine(_sps(self, tuple(obs["filters"])), config.tables)
        return result.certified(exact, n=config.certificate, seed=seed, engine=name)

    def select(self, bands):
        """The emulator of these bands."""
        return self.emulator.select(bands)


@lru_cache(maxsize=8)
def _sps(backend, filters):
    # Comparing the curves of 45 filters takes as long as a tenth of a fit.
    return EmulatorSPS(backend.select(tuple(f.name for f in filters)), filters=filters)


@lru_cache(maxsize=8)
def _engine(sps, tables):
    return find_engine(sps.emulator, tables or None)


def nested_keywords(config):
    """`FitConfig` as keywords of `fit_model`."""
    out = {
        "nested_nlive_init": config.nlive,
        "nested_walks": config.walks,
        "nested_dlogz_init": config.dlogz,
        "nested_target_n_effective": config.n_eff,
        "nested_maxcall": config.max_calls,
        "nested_maxbatch": config.max_batch,
        "nested_moves": config.moves,
        "nested_max_error": config.max_error,
        "nested_max_runs": config.max_runs,
    }
    return {k: v for k, v in out.items() if v is not None}


# ---- exact --------------------------------------------------------------------------


class ExactBackend(Backend):
    """ExactSPS, sampled as an emulator is."""

    certifiable = False

    def __init__(self, argument):
        path = argument or os.environ.get(TABLES_VARIABLE, "")
        if not Path(path).is_file():
            raise SetupError(
                f"The backend 'exact' needs the tables of FSPS, and {path or 'no file'!r} is not "
                "there; write 'exact:FILE', FILE made by prospect_emu.training.exact_tables."
                "export_tables."
            )
        try:
            import torch

            from ..training.exact import ExactSPS
        except ModuleNotFoundError as err:
            raise SetupError(
                f"The backend 'exact' needs torch ({err}); pip install 'prospect_emu[train]'."
            ) from err
        torch.set_num_threads(1)
        # Single precision errs by 1e-5, and takes half the time.
        self.exact = ExactSPS(path, torch.float32)
        self.label = "exact"

    bands = None
    zred_range = EXACT_ZRED

    def identity(self):
        return {"name": "exact", "sha256": self.exact.manifest.get("sha256")}

    def select(self, bands):
        from ..training.engines import exact_emulator

        return exact_emulator(self.exact, load_filters(bands), EXACT_ZRED)


# ---- FSPS ---------------------------------------------------------------------------


@dataclass(frozen=True, repr=False)
class FSPSEmulator(EmulatorBase):
    """FSPS's photometry of parameter vectors, remembered from a fit or computed.

    Attributes
    ----------
    memory : dict
        Bytes of a parameter vector -> (maggies, mfrac).
    compute : callable
        Vector (18,) -> (maggies, mfrac), for those not remembered.
    """

    memory: dict
    compute: Any

    def _look_up(self, vector):
        key = vector.tobytes()
        if key not in self.memory:
            self.memory[key] = self.compute(vector)
        return self.memory[key]

    def maggies(self, theta, check=True):
        """See `Emulator.maggies`; always all bands that FSPS was set up for."""
        theta = np.ascontiguousarray(theta, dtype=float)
        flat = theta.reshape(-1, len(self.parameters))
        flux = np.array([self._look_up(row)[0] for row in flat])
        return flux.reshape(*theta.shape[:-1], -1)

    def reference_maggies(self, theta):
        """See `Emulator.reference_maggies`."""
        scale = reference_scale(theta[:, 0], theta[:, self.index("zred")])
        return self.maggies(theta) / scale[:, None]

    def _mfrac(self, theta):
        return np.array([self._look_up(row)[1] for row in np.ascontiguousarray(theta, dtype=float)])


def fsps_emulator(bands, versions=None):
    """FSPS itself where an emulator goes: some bands, without errors, tens of milliseconds each.

    `versions` is what `fsps_versions` gave, if it was asked already.
    """
    from ..training.generate import FSPSPhotometry, fsps_versions
    from ..training.recipe import Recipe

    bands = tuple(bands)
    compute = FSPSPhotometry(Recipe(filters=bands, quadrature="sedpy"))
    return _fsps_emulator(bands, versions or fsps_versions(), compute)


def _fsps_emulator(bands, versions, compute):
    n = len(bands)
    return FSPSEmulator(
        name="fsps",
        parameters=PARAMETERS,
        bounds=np.array([EXACT_ZRED if p == "zred" else BOX[p] for p in PARAMETERS]),
        filters=bands,
        filter_hashes=tuple(curve_hash(f) for f in load_filters(bands)),
        bias_mag=np.zeros(n),
        sigma_mag=np.zeros(n),
        covariance=np.zeros((n, n)),
        quantiles=np.zeros((n, 9)),
        manifest={"recipe": {"fixed": dict(FIXED)}, "versions": versions},
        memory={},
        compute=compute,
    )


class FSPSBackend(Backend):
    """python-fsps in Prospector's own `fit_model`, serially, with `FastStepBasis`."""

    label = "fsps"
    keeps_time = False
    bands = None
    zred_range = EXACT_ZRED

    def __init__(self, argument):
        from ..training.generate import fsps_versions

        self.versions = fsps_versions()

    def identity(self):
        return {"name": "fsps", "versions": self.versions}

    def fit(self, obs, config, seed):
        from prospect.fitting import fit_model
        from prospect.models import SpecModel

        params = model_params(zred=obs["zred"])
        emulator = fsps_emulator((f.name for f in obs["filters"]), self.versions)
        sps = EmulatorSPS(emulator, filters=obs["filters"])
        remembering = type("RememberingSpecModel", (_Remembers, SpecModel), {})
        model = remembering(params)
        model.remember(emulator.memory, sps.theta_from_params)
        ours = ("nested_moves", "nested_max_error", "nested_max_runs")
        given = {k: v for k, v in nested_keywords(config).items() if k not in ours}
        settings = NestedSettings.preset(config.preset)
        keywords = {
            "nested_sample": "rwalk",
            "nested_nlive_init": settings.nlive_init,
            "nested_walks": settings.walks,
            "nested_dlogz_init": settings.dlogz_init,
            "nested_target_n_effective": settings.target_n_effective,
        } | given
        if config.max_calls is not None:
            keywords["nested_maxcall_init"] = config.max_calls
        with seeded_dynesty(seed):
            output = fit_model(
                obs, model, emulator.compute.sps, verbose=False, print_progress=False, **keywords
            )
        ncall = int(np.sum(output["sampling"][0]["ncall"]))
        spent = config.max_calls is not None and ncall >= config.max_calls
        status = f"budget: maxcall = {config.max_calls}" if spent else "converged"
        # What Prospector evaluated is remembered, so that this costs no FSPS.
        return FitResult.from_run(
            output, EmulatorSpecModel(params), obs, sps, status=status, seed=seed,
            settings={"emulator": self.label},
        )  # fmt: skip


class _Remembers:
    """Keeps what a model predicts, by the emulator's parameter vector."""

    def remember(self, memory, vector):
        self._memory, self._vector = memory, vector

    def predict(self, theta, *args, **keywords):
        spectrum, maggies, mfrac = super().predict(theta, *args, **keywords)
        found = np.array(maggies, dtype=float), float(np.squeeze(mfrac))
        # The very numbers of the sample: Prospector's parameters go through
        # logarithms and back.
        vector = self._vector(self.params)
        for name, value in zip(self.theta_labels(), theta, strict=True):
            vector[PARAMETERS.index(_NAMES.get(name, name))] = value
        self._memory[vector.tobytes()] = found
        return spectrum, maggies, mfrac


_NAMES = {"massmet_1": "logmass", "massmet_2": "logzsol"}


@contextmanager
def seeded_dynesty(seed):
    """Prospector gives dynesty no random state, and dynesty then makes one up: this one."""
    import dynesty.dynesty as module

    original = module.get_random_generator
    module.get_random_generator = lambda seed_=None: original(seed if seed_ is None else seed_)
    try:
        yield
    finally:
        module.get_random_generator = original


# ---- registry ----------------------------------------------------------------------------------


BACKENDS = {"exact": ExactBackend, "fsps": FSPSBackend}


def label_of(spec):
    """The short name of a backend, without making it."""
    word = spec.split(":", 1)[0]
    return word if word in BACKENDS else Path(spec).stem if os.sep in spec else spec


@lru_cache(maxsize=4)
def load_backend(spec):
    """A backend by its string.

    Raises
    ------
    SetupError
        If something it needs is not there.
    ModelFileError
        If it is no known word and no emulator.
    """
    word, _, argument = spec.partition(":")
    if word in BACKENDS:
        return BACKENDS[word](argument)
    return Backend(label_of(spec), load_emulator(spec))
