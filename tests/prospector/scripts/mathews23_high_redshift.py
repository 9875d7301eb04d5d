"""The same model at z = 5."""

from mathews23 import build_model as _build_model
from mathews23 import build_noise, build_sps
from shared import JWST, catalog

run_params = {"zred": 5.0}

__all__ = ["build_model", "build_noise", "build_obs", "build_sps"]


def build_obs(**extras):
    return catalog(JWST, brightness=1e-11)


def build_model(zred=5.0, **extras):
    return _build_model(zred=zred, **extras)


if __name__ == "__main__":
    from shared import main

    main(build_obs, build_model, build_sps, build_noise, run_params)
