"""Import paths of earlier versions, which go on working.

``import prospect_emu.model`` gives the module that now holds it. Names that moved to
another module than their neighbours are found there too.
"""

import importlib
import sys
from importlib.machinery import ModuleSpec

# Old module -> where it is now, both below prospect_emu.
MOVED = {
    "certificate": "fit.certificate",
    "cli": "commands.cli",
    "dust_inverse": "dust.dust_inverse",
    "dust_network": "dust.dust_network",
    "emulator": "networks.loading",
    "filters": "observe.filters",
    "fitting": "fit.fitting",
    "likelihood": "fit.likelihood",
    "magnitudes": "observe.magnitudes",
    "model": "prospector.mathews23",
    "nested": "sampling.nested",
    "photometry": "observe.photometry",
    "plots": "fit.plots",
    "posterior": "fit.posterior",
    "priors": "prospector.priors",
    "result": "fit.result",
    "sfh": "networks.sfh",
    "stitched": "networks.stitched",
    "tables": "observe.tables",
    "walks": "sampling.walks",
    "training.comparison": "training.evaluation_report",
    "training.dust_bands": "training.themis.dust_bands",
    "training.dust_data": "training.themis.dust_data",
    "training.dust_engine": "training.themis.dust_engine",
    "training.dust_fields": "training.themis.dust_fields",
    "training.dust_grid": "training.themis.dust_grid",
    "training.dust_templates": "training.themis.dust_templates",
    "training.report": "training.evaluation_report",
    "training.scores": "training.evaluate",
    "training.tables": "training.exact_tables",
}


class _Alias:
    """Gives the module at its new place."""

    def __init__(self, name):
        self.name = name

    def create_module(self, spec):
        self.module = importlib.import_module(self.name)
        # The import system writes the old name's spec into the module.
        self.spec = self.module.__spec__
        return self.module

    def exec_module(self, module):
        module.__spec__ = self.spec

    def get_code(self, fullname):
        """For ``python -m`` with an old name."""
        run = f"import runpy; runpy.run_module({self.name!r}, run_name='__main__')"
        return compile(run, fullname, "exec")


class _Finder:
    def find_spec(self, fullname, path=None, target=None):
        package, _, rest = fullname.partition(".")
        if package != "prospect_emu" or rest not in MOVED:
            return None
        return ModuleSpec(fullname, _Alias(f"prospect_emu.{MOVED[rest]}"))


def install():
    """Make `import` find the modules at their old names."""
    if not any(isinstance(f, _Finder) for f in sys.meta_path):
        sys.meta_path.append(_Finder())
