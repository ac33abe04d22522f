"""What people and CI run: the local stack, generators, tenants, costs.

`python -m scripts.NAME` works from the project's root with no PYTHONPATH: the package of the layer is found here.
"""

import sys
from pathlib import Path

_LAYER = str(Path(__file__).parents[1] / "layers/gateway")
if _LAYER not in sys.path:
    sys.path.append(_LAYER)
