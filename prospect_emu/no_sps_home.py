"""Prospector 2 without FSPS's data: its import stops at a file that only AGN models need."""

import os
import sys
from importlib.machinery import ModuleSpec

_MODULE = "prospect.sources.fake_fsps"
_FILE = os.path.join("dust", "Nenkova08_y010_torusg_n10_q2.0.dat")


class _Empty:
    """The module's functions, which say what they miss."""

    def create_module(self, spec):
        return None

    def exec_module(self, module):
        def missing(*args, **kwargs):
            raise RuntimeError(
                f"{_MODULE} reads {_FILE} of FSPS; set SPS_HOME to FSPS's folder before Prospector "
                "is imported."
            )

        module.add_dust = module.add_igm = module.agn_torus = module.attenuate = missing


class _Finder:
    def find_spec(self, fullname, path=None, target=None):
        if fullname != _MODULE or os.path.isfile(os.path.join(os.getenv("SPS_HOME", ""), _FILE)):
            return None
        return ModuleSpec(fullname, _Empty())


def install():
    """Let ``import prospect`` work without SPS_HOME; for modules imported after this call."""
    if not any(isinstance(f, _Finder) for f in sys.meta_path):
        # Before the finder of files, which would find the module itself.
        sys.meta_path.insert(0, _Finder())
