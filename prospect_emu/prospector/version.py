"""The adapter of the Prospector that is installed; nothing else asks which one it is.

`v1` and `v2` have the same names: ``observed`` makes our `Observed` of its data, ``prepared``
and ``predict`` call its models, ``row_likelihood`` its likelihood, ``output`` and
``write_hdf5`` give results the form that its own functions return and write.
"""

from importlib.util import find_spec
from typing import Any

adapter: Any
if find_spec("prospect.observation") is None:
    from . import v1

    adapter = v1
else:
    from . import v2

    adapter = v2
