"""Posteriors of Prospector models in batches, fits, their results and figures.

``prospect_emu.fit(...)`` itself is `prospect_emu.fit.one_galaxy.fit_table`.
"""

import sys
import types


class _Fit(types.ModuleType):
    """This package, which can also be called."""

    def __call__(self, table=None, zred=None, **kwargs):
        """Fit one galaxy; see `prospect_emu.fit.one_galaxy.fit_table`."""
        from .one_galaxy import fit_table

        return fit_table(table, zred, **kwargs)


sys.modules[__name__].__class__ = _Fit
