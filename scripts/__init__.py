"""Tools that people and CI run: the local stack, generators, tenants, costs.

`python -m scripts.NAME` needs no PYTHONPATH in the project's root: this module puts the layer's package on the path.
"""

import sys
from pathlib import Path

_LAYER = str(Path(__file__).parents[1] / "layers/gateway")
if _LAYER not in sys.path:
    sys.path.append(_LAYER)
