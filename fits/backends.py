"""What a fit asks for fluxes: an emulator, exact physics of any model, or FSPS itself.

A campaign names them by plain strings: the name or file of an emulator; "exact",
`EmulatorSPS` without one, for any model of Prospector; "fsps", python-fsps through
Prospector's own `fit_model`.
"""

import os
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path

import numpy as np

from ..errors import DataError, SetupError
from ..fit.certificate import find_engine
from ..fit.one_galaxy import PRESET, with_spectrum
from ..fit.predictions import ExactFluxes
from ..fit.result import FitResult
from ..networks.loading import load_emulator
from ..networks.proposal import load_proposal
from ..prospector.drop_in import EmulatorSpecModel, EmulatorSPS
from ..prospector.mathews23 import model_params
from ..prospector.parameter_file import ParameterFile
from ..prospector.redshift_prior import OWN, redshift_prior
from ..prospector.templates import template_model
from ..prospector.version import adapter
from ..sampling.settings import NestedSettings


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

    def identity(self, config):
        """What distinguishes this one from others of its name; JSON.

        Raises
        ------
        ProspectEmuError
            If it cannot fit what the `FitConfig` asks for.
        """
        self.model(config, 1.0)
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

        obs, model = self.problem(obs, config)
        sps = self.sps(obs["filters"])
        if config.inflate:
            obs = sps.inflate(obs)
        more = {"seed": seed, "progress": False, "max_seconds": config.max_seconds}
        if config.proposal:
            more["proposal"] = load_proposal(config.proposal)
        if config.queue_size is not None:
            more["queue_size"] = config.queue_size
        if config.certificate and self.certifiable:
            _engine(sps, config.tables)  # found before the fit, so that none is missing after it
        output = fit_model(obs, model, sps, preset=config.preset, **nested_keywords(config), **more)
        result = FitResult.from_run(
            output, model, obs, sps, seed=seed, settings={"emulator": self.label},
            restframe=config.restframe,
        )  # fmt: skip
        return self.certify(result, obs, config, seed)

    def problem(self, obs, config):
        """What is fitted: data and model."""
        return obs, self.model(config, *redshift_of(obs))

    def certify(self, result, obs, config, seed):
        """A result with the certificate that the configuration asks for."""
        if not (config.certificate and self.certifiable):
            return result
        name, exact = _engine(self.sps(obs["filters"]), config.tables)
        return result.certified(exact, n=config.certificate, seed=seed, engine=name)

    def model(self, config, zred, prior=None, magnification=None):
        """What is fitted, at a redshift, or with a prior of it and `zred` None.

        Raises
        ------
        SetupError
            If the configuration has a model for which this was not made.
        """
        if config.other_model:
            raise SetupError(
                f"The emulator {self.label!r} is of the 18-parameter model; with fit.model or "
                "fit.params, emulators must be ['exact']."
            )
        if magnification is not None and (prior is not None or config.certificate):
            raise SetupError(
                "A magnification is not taken with an emulator at a free redshift, nor with a "
                "certificate; emulators must be ['exact']."
            )
        return EmulatorSpecModel(model_params(zred, prior, magnification))

    def sps(self, filters):
        """Its `EmulatorSPS` for some filters."""
        return _sps(self, tuple(filters))


@lru_cache(maxsize=8)
def _sps(backend, filters):
    # Comparing the curves of 45 filters takes as long as a tenth of a fit.
    return EmulatorSPS(backend.emulator, filters=filters)


@lru_cache(maxsize=8)
def _engine(sps, tables):
    return find_engine(sps.emulator, tables or None)


def redshift_of(obs):
    """A galaxy's redshift and None, or None and the prior of a free one; its magnification."""
    magnification = obs.get("magnification")
    if obs.get("zred_prior") is None:
        return obs["zred"], None, magnification
    return None, redshift_prior(obs["zred_prior"]), magnification


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
    """FSPS's physics on the ingredients, compiled for any model at each redshift."""

    label = "exact"
    certifiable = False
    bands = None
    zred_range = (0.0, 30.0)

    def __init__(self):
        self._sps = EmulatorSPS()

    @lru_cache(maxsize=4)  # noqa: B019, of which there are few in a process
    def identity(self, config):
        # The ingredients follow from the model, and no model takes others at another redshift.
        ingredients = ExactFluxes(self.model(config, 1.0), [], self._sps).ingredients
        return {"name": "exact", "sha256": ingredients.manifest.get("sha256")}

    def problem(self, obs, config):
        if "spectrum_file" not in obs:
            return super().problem(obs, config)
        file, (_, prior, magnification) = dict(obs.pop("spectrum_file")), redshift_of(obs)
        if magnification is not None:
            raise DataError("A magnification is not taken with a spectrum; leave out one of them.")
        del file["sha256"]
        return with_spectrum(obs, model="+".join(config.model) or PRESET, prior=prior, **file)

    def model(self, config, zred, prior=None, magnification=None):
        if config.params:
            if magnification is not None:
                raise SetupError(
                    "catalog.magnification does nothing for a model of fit.params; write it into "
                    "build_model."
                )
            model = _parameter_file(config.params, config.params_options).model_at(zred)
            if prior is not None and prior != OWN:
                model.config_dict["zred"]["prior"] = prior
            return model
        if config.model:
            return template_model("+".join(config.model), zred, prior, magnification)[0]
        return adapter.SpecModel(model_params(zred, prior, magnification))

    def sps(self, filters):
        return self._sps


@lru_cache(maxsize=4)
def _parameter_file(path, options):
    return ParameterFile(path, options)


# ---- FSPS ---------------------------------------------------------------------------


class FSPSBackend(ExactBackend):
    """python-fsps in Prospector's own `fit_model`, serially, for any model.

    What is derived from the samples, and their predicted fluxes, are those of the exact
    physics, 1e-4 off FSPS's at most.
    """

    label = "fsps"
    keeps_time = False

    def __init__(self):
        from ..training.generate import fsps_versions

        super().__init__()
        self._versions = fsps_versions()

    def identity(self, config):
        if config.proposal:
            raise SetupError(
                'fit.sampler = "amortised" is not for fits by FSPS itself; leave "fsps" out of '
                "emulators, or give it a campaign of its own."
            )
        return {**super().identity(config), "name": "fsps", "versions": self._versions}

    def fit(self, obs, config, seed):
        from prospect.fitting import fit_model
        from prospect.sources import CSPSpecBasis, FastStepBasis

        model = self.model(config, *redshift_of(obs))
        basis = FastStepBasis if "agebins" in model.params else CSPSpecBasis
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
                obs, model, basis(zcontinuous=1), verbose=False, print_progress=False, **keywords
            )
        ncall = int(np.sum(output["sampling"][0]["ncall"]))
        spent = config.max_calls is not None and ncall >= config.max_calls
        result = FitResult.from_run(
            output, model, obs, self._sps, seed=seed, settings={"emulator": self.label},
            status=f"budget: maxcall = {config.max_calls}" if spent else "converged",
            restframe=config.restframe,
        )  # fmt: skip
        result.info["emulator"] = self.label
        return result


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
    return Path(spec).stem if os.sep in spec else spec


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
    if spec in BACKENDS:
        return BACKENDS[spec]()
    return Backend(label_of(spec), load_emulator(spec))
