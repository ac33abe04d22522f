# Generated from openapi.yaml by scripts/generate_schemas.py; do not edit.

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel


class ProblemDetail(BaseModel):
    location: Annotated[str, Field(examples=["body.parameters"])]
    message: Annotated[str, Field(examples=["must be an object"])]


class FoundationModelSummary(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    modelArn: Annotated[
        str, Field(examples=["arn:aws:bedrock:us-east-1::foundation-model/amazon.titan-text-express-v1"])
    ]
    modelId: Annotated[str, Field(examples=["amazon.titan-text-express-v1"])]
    modelName: Annotated[str | None, Field(examples=["Titan Text G1 - Express"])] = None
    providerName: Annotated[str | None, Field(examples=["Amazon"])] = None
    inputModalities: Annotated[list[str] | None, Field(examples=[["TEXT"]])] = None
    outputModalities: Annotated[list[str] | None, Field(examples=[["TEXT"]])] = None
    responseStreamingSupported: Annotated[bool | None, Field(examples=[True])] = None
    customizationsSupported: Annotated[list[str] | None, Field(examples=[["FINE_TUNING"]])] = None
    inferenceTypesSupported: Annotated[list[str] | None, Field(examples=[["ON_DEMAND"]])] = None
    modelLifecycle: Annotated[dict[str, Any] | None, Field(examples=[{"status": "ACTIVE"}])] = None


class FoundationModels(BaseModel):
    modelSummaries: list[FoundationModelSummary]


class ListFoundationModelsResponse(RootModel[list[FoundationModels]]):
    root: Annotated[list[FoundationModels], Field(max_length=1, min_length=1)]


class InvokeModelRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    inputs: Annotated[
        Any | None,
        Field(
            description="A string; for `messages_api` the messages of Converse; for embeddings a string or a list of strings; for a SageMaker endpoint a string or an object."
        ),
    ] = None
    parameters: Annotated[
        dict[str, Any] | None,
        Field(
            description="The model's own parameters; for `messages_api` Converse's inferenceConfig and `system`, a string."
        ),
    ] = None
    additional_model_fields: Annotated[
        dict[str, Any] | None, Field(description="Converse's additionalModelRequestFields.")
    ] = None
    text_prompts: Annotated[
        list[dict[str, Any]] | None, Field(description="The prompts of a Stability image model.")
    ] = None
    textToImageParams: Annotated[
        dict[str, Any] | None, Field(description="The prompt of a Titan or Nova image model.")
    ] = None


class ImageArtifact(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    base64: Annotated[str, Field(description="The image.")]


class InvokeModelResult(BaseModel):
    generated_text: Annotated[str | None, Field(description="The text of the answer.")] = None
    request_id: Annotated[str | None, Field(description="Poll with this id; there is no answer yet.")] = None
    embedding: Annotated[
        list[float] | None, Field(description="The vector, or the first one where the inputs were a list.")
    ] = None
    embeddings: Annotated[
        list[list[float]] | None,
        Field(description="All vectors, in the order of the inputs, where these were a list of more than one."),
    ] = None
    artifacts: Annotated[list[ImageArtifact] | None, Field(description="The images of a Stability model.")] = None
    images: Annotated[list[str] | None, Field(description="The images of any other image model, base64.")] = None


class InvokeModelResponse(RootModel[list[InvokeModelResult]]):
    root: Annotated[list[InvokeModelResult], Field(max_length=1, min_length=1)]


class UsageTotals(BaseModel):
    invocations: Annotated[int, Field(examples=[12])]
    input_tokens: Annotated[int, Field(examples=[4200])]
    output_tokens: Annotated[int, Field(examples=[900])]
    cache_read_tokens: Annotated[int, Field(examples=[0])]
    cache_write_5m_tokens: Annotated[int, Field(examples=[0])]
    cache_write_1h_tokens: Annotated[int, Field(examples=[0])]
    images: Annotated[int, Field(examples=[0])]
    input_cost: Annotated[str, Field(examples=["0.00105"])]
    output_cost: Annotated[str, Field(examples=["0.001125"])]
    cost: Annotated[str, Field(examples=["0.002175"])]
    unpriced_invocations: Annotated[
        int, Field(description="Calls that have usage but no price yet. They are never free.", examples=[0])
    ]
    open_invocations: Annotated[int, Field(description="Calls that have not settled yet.", examples=[0])]


class UsageLine(BaseModel):
    key: Annotated[
        str,
        Field(
            description="The model, cost centre, day or hour of this line.",
            examples=["anthropic.claude-3-haiku-20240307-v1:0"],
        ),
    ]
    totals: UsageTotals


class GroupBy(StrEnum):
    model = "model"
    cost_centre = "cost_centre"
    day = "day"
    hour = "hour"


class UsageReport(BaseModel):
    tenant_id: Annotated[str, Field(examples=["demo-research"])]
    start: Annotated[AwareDatetime, Field(examples=["2026-11-24T00:00:00Z"])]
    end: Annotated[AwareDatetime, Field(examples=["2026-11-24T12:00:00Z"])]
    group_by: Annotated[GroupBy, Field(examples=["model"])]
    totals: UsageTotals
    lines: list[UsageLine]


class InvokeModelParametersQuery(BaseModel):
    model_id: Annotated[str | None, Field(max_length=2048, min_length=1)] = None
    model_arn: Annotated[str | None, Field(max_length=2048, min_length=20)] = None
    requestId: Annotated[str | None, Field(max_length=128, min_length=1)] = None


class ReportUsageParametersQuery(BaseModel):
    start: Annotated[str | None, Field(max_length=35, min_length=10)] = None
    end: Annotated[str | None, Field(max_length=35, min_length=10)] = None
    group_by: GroupBy | None = "model"


class Problem(BaseModel):
    code: Annotated[str, Field(description="Stable, for programs.", examples=["model_id_missing"])]
    message: Annotated[
        str,
        Field(
            description="For people: what is wrong and what to do.",
            examples=["Name a model in the query parameter model_id."],
        ),
    ]
    request_id: Annotated[str, Field(description="Of this request.", examples=["6f2c9a6e-0e5b-4a57-9d51-1b8f0c2d7f10"])]
    details: Annotated[
        list[ProblemDetail] | None, Field(description="The single faults of a body, where there are several.")
    ] = None
