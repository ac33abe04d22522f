"""Resolves the names of models: `model_id` and `model_arn`, to the service and target of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from gateway.core.errors import BadRequestError
from gateway.core.settings import read_variable
from gateway.pricing.model_names import MODEL_ID, OWN_ARN, id_in, split_profile
from gateway.usage.records import ModelId


class Service(StrEnum):
    BEDROCK = "bedrock"
    SAGEMAKER = "sagemaker"


@dataclass(frozen=True)
class Model:
    """A model that a caller requested.

    `target` is the model's name at the service: an id, an ARN, or an endpoint's name. `provider` and `base` are empty
    for a SageMaker endpoint.
    """

    id: ModelId
    service: Service
    target: str
    provider: str = ""
    base: str = ""
    own_arn: bool = False  # an ARN of an account's resource: a tenant may call only those of its record
    unresolved: bool = False  # an application profile whose model was not looked up

    @property
    def counted_as(self) -> ModelId:
        """The id for records and prices of its calls; a model of unknown base has only a price of its own."""
        return ModelId(self.target) if self.unresolved else self.id

    @property
    def known_base(self) -> str:
        """The base id of the model that certainly answers; empty where only the caller names it beside an own ARN.

        Bedrock's own ARNs have it in them, and a resolved application profile has its model's.
        """
        resolved = ":application-inference-profile/" in self.target and not self.unresolved
        return "" if self.own_arn and id_in(self.target) is None and not resolved else self.base


@dataclass(frozen=True)
class Catalog:
    """Resolves names: to the SageMaker endpoints of this deployment, and every other name to Bedrock."""

    sagemaker_endpoints: dict[str, str]

    @classmethod
    def from_json(cls, text: str) -> Catalog:
        """The catalog of the variable SAGEMAKER_ENDPOINTS. Raises ValueError."""
        return read_variable("SAGEMAKER_ENDPOINTS", text, cls.read)

    @classmethod
    def read(cls, said: Any) -> Catalog:
        """Raises ValueError unless it is an object that maps names to names."""
        if not isinstance(said, dict) or not all(isinstance(name, str) and name for name in said.values()):
            raise ValueError("the endpoints must be a JSON object of public model names to endpoint names")
        return cls(said)

    def find(self, model_id: str | None, model_arn: str | None = None) -> Model:
        if not model_id:
            raise BadRequestError("Name a model in the query parameter model_id.", code="model_id_missing")
        if model_arn and not (OWN_ARN.match(model_arn) or id_in(model_arn)):
            raise BadRequestError(
                "model_arn must be the ARN of a Bedrock model or inference profile.", code="invalid_model_arn"
            )
        if endpoint := self.sagemaker_endpoints.get(model_id):
            # The name selects an endpoint. model_arn is ignored: the oldest spec required one of every caller.
            return Model(ModelId(model_id), Service.SAGEMAKER, endpoint)
        if model_id.startswith("arn:"):
            message = "Set model_id to the base model and model_arn to the ARN of your custom model."
            raise BadRequestError(message, code="invalid_model_id")
        if not MODEL_ID.match(model_id):
            raise BadRequestError(
                "model_id is not a Bedrock model id. See /list_foundation_models.", code="invalid_model_id"
            )
        _, base = split_profile(model_id)
        if (profile := id_in(model_arn or "")) and split_profile(profile)[1] != base:
            # Otherwise the call would run one model at the price of another.
            raise BadRequestError("model_arn and model_id name different models.", code="invalid_model_arn")
        if model_arn and profile and not OWN_ARN.match(model_arn):
            # The ARN of a foundation model belongs to no account, so the id in it decides the permission.
            return replace(self.find(profile), target=model_arn)
        provider = base.partition(".")[0]
        target, unresolved = model_arn or model_id, ":application-inference-profile/" in (model_arn or "")
        own = bool(model_arn)
        return Model(ModelId(model_id), Service.BEDROCK, target, provider, base, own_arn=own, unresolved=unresolved)

    def named(self, name: str, behind: Callable[[str], str | None]) -> Model:
        """The model of Bedrock's own operations: an id, a profile, an endpoint's public name, or any ARN.

        `behind` resolves an application inference profile to its model. A name without a known model is its own id, so
        it has only a price of its own (`gateway.pricing.model_names`).
        """
        if not name.startswith("arn:"):
            return self.find(name)
        if known := id_in(name):
            return replace(self.find(known), target=name)
        if not OWN_ARN.match(name):
            raise BadRequestError("Not a Bedrock model or inference profile ARN.", code="invalid_model_id")
        found = behind(name) if ":application-inference-profile/" in name else None
        model_id = found or name
        base = split_profile(found)[1] if found else ""
        return Model(ModelId(model_id), Service.BEDROCK, name, base.partition(".")[0], base, own_arn=True)
