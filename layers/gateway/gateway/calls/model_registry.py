"""The model names of this deployment: its routes and its endpoints.

Operators set them inline, as the parameters ModelRoutes and SageMakerEndpoints. A longer list is an object in S3, whose
members replace the parameters; either may be left out:

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
    """The routes and the catalog that resolve model names."""

    routes: Routes
    catalog: Catalog

    @classmethod
    def inline(cls, routes: str, endpoints: str) -> ModelRegistry:
        """The directory of the parameters. Raises ValueError, which names the wrong parameter."""
        return cls(Routes.from_json(routes), Catalog.from_json(endpoints))

    def with_object(self, text: str) -> ModelRegistry:
        """This directory, with the members of the object in place. Raises ValueError, which states the fault."""
        said = json.loads(text)
        if not isinstance(said, Mapping) or said.keys() - _MEMBERS:
            raise ValueError("the object must be a JSON object with the members routes and endpoints only")
        registry = self
        if "routes" in said:
            registry = replace(registry, routes=Routes.read(said["routes"]))
        if "endpoints" in said:
            registry = replace(registry, catalog=Catalog.read(said["endpoints"]))
        return registry
