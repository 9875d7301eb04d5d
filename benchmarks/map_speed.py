"""Microseconds per vector of prior transform and parameter map, for each Prospector template.

    python benchmarks/map_speed.py [--batch 256] [--repeats 50]

Medians over the repeats on one thread, with the free redshift where the template
allows it, and what still runs row by row.
"""

import argparse
import statistics
import time
import warnings

import numpy as np
from prospect.models import SpecModel
from prospect.models.templates import TemplateLibrary

from prospect_emu.model import model_params
from prospect_emu.prospector.batched_priors import compile_priors, prior_draws
from prospect_emu.prospector.parameter_map import ParameterMap

HISTORIES = (
    "ssp", "parametric_sfh", "logm_sfh", "continuity_sfh", "continuity_flex_sfh",
    "continuity_psb_sfh", "dirichlet_sfh", "stochastic_sfh", "alpha", "beta",
)  # fmt: skip


def microseconds(function, argument, repeats):
    """Median time per row of `argument`."""
    spent = []
    for _ in range(repeats):
        start = time.perf_counter()
        function(argument)
        spent.append(time.perf_counter() - start)
    return 1e6 * statistics.median(spent) / len(argument)


def models():
    """Names and parameter dictionaries to time."""
    for name in HISTORIES:
        for free in (False, True):
            params = TemplateLibrary[name]
            for addition in ("dust_emission", "nebular", "igm", "agn"):
                if name not in ("alpha", "beta"):
                    params.update(TemplateLibrary[addition])
            if free and "depends_on" in params["zred"]:
                continue
            if free:
                params["zred"]["isfree"] = True
            yield name + (", zred free" if free else ""), params
    yield "mathews23", model_params(zred=1.0)
    yield "mathews23, zred free", model_params()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--repeats", type=int, default=50)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(f"{'model':34s} {'ndim':>4s} {'priors':>7s} {'map':>7s} {'sum':>7s}  us; Prospector us")
    for name, params in models():
        model = SpecModel(params)
        priors, mapped = compile_priors(model), ParameterMap(model)
        u = np.random.default_rng(0).random((options.batch, model.ndim))
        theta = prior_draws(priors, u)
        transform = microseconds(lambda x, p=priors: prior_draws(p, x), u, options.repeats)
        mapping = microseconds(mapped, theta, options.repeats)
        own = microseconds(
            lambda x, m=model: [m.set_parameters(m.prior_transform(row)) for row in x], u[:16], 3
        )
        slow = [k for p in priors if p.rows for k, _ in p.spans] + list(mapped.row_by_row)
        print(
            f"{name:34s} {model.ndim:4d} {transform:7.2f} {mapping:7.2f} {transform + mapping:7.2f}"
            f"  {own:10.0f} {'row by row: ' + ', '.join(slow) if slow else ''}"
        )


if __name__ == "__main__":
    main()
