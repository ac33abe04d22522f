"""The names of models of this deployment: which of them are routes, which are endpoints, and how both are told.

Operators tell them inline, as the parameters ModelRoutes and SageMakerEndpoints. What does not fit there lies in one
object, whose members stand in the place of the parameters; either may be left out:

    {"routes": {"fast": {"model": "…"}}, "endpoints": {"my-llama": "jumpstart-llama-2-7b"}}
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from gateway.calls.catalog import Catalog
from gateway.calls.model_routes import Routes

_MEMBERS = {"routes", "endpoints"}


@dataclass(frozen=True)
class ModelRegistry:
    """Where each name of a model leads."""

    routes: Routes
    catalog: Catalog

    @classmethod
    def inline(cls, routes: str, endpoints: str) -> ModelRegistry:
        """What the parameters say. Raises ValueError with a sentence that names the one that is wrong."""
        return cls(Routes.from_json(routes), Catalog.from_json(endpoints))

    def with_object(self, text: str) -> ModelRegistry:
        """What the object says, over this. Raises ValueError with a sentence about what is wrong in it."""
        said = json.loads(text)
        if not isinstance(said, Mapping) or said.keys() - _MEMBERS:
            raise ValueError("the object must be a JSON object with the members routes and endpoints only")
        registry = self
        if "routes" in said:
            registry = replace(registry, routes=Routes.read(said["routes"]))
        if "endpoints" in said:
            registry = replace(registry, catalog=Catalog.read(said["endpoints"]))
        return registry
