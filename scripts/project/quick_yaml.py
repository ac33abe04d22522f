"""YAML by libyaml if PyYAML has it: it reads the template and the spec in a tenth of the time."""

from __future__ import annotations

from typing import Any

import yaml

Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read(text: str) -> Any:
    """Parse a text; plain values only, like `yaml.safe_load`."""
    return yaml.load(text, Loader)  # a safe loader
