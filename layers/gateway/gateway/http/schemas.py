# Generated from openapi.yaml by scripts/generate_schemas.py; do not edit.

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel


class ProblemDetail(BaseModel):
    location: str
    message: str


class FoundationModelSummary(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    modelArn: str
    modelId: str
    modelName: str | None = None
    providerName: str | None = None
    inputModalities: list[str] | None = None
    outputModalities: list[str] | None = None
    responseStreamingSupported: bool | None = None
    customizationsSupported: list[str] | None = None
    inferenceTypesSupported: list[str] | None = None
    modelLifecycle: dict[str, Any] | None = None


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
    invocations: int
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int
    images: int
    input_cost: str
    output_cost: str
    cost: str
    unpriced_invocations: Annotated[
        int, Field(description="Calls that have usage but no price yet. They are never free.")
    ]
    open_invocations: Annotated[int, Field(description="Calls that have not settled yet.")]


class UsageLine(BaseModel):
    key: Annotated[str, Field(description="The model, cost centre, day or hour of this line.")]
    totals: UsageTotals


class GroupBy(StrEnum):
    model = "model"
    cost_centre = "cost_centre"
    day = "day"
    hour = "hour"


class UsageReport(BaseModel):
    tenant_id: str
    start: AwareDatetime
    end: AwareDatetime
    group_by: GroupBy
    totals: UsageTotals
    lines: list[UsageLine]


class BudgetLine(BaseModel):
    scope: Annotated[str, Field(description="`tenant`, or `cost_centre`.")]
    cost_centre: Annotated[str | None, Field(description="Whose budget it is, where it is a cost centre's.")] = None
    monthly_usd: str
    hard: Annotated[bool, Field(description="A hard budget refuses what does not fit; a soft one warns.")]
    spent: str
    held: Annotated[str, Field(description="Room that running calls take.")]
    available: Annotated[
        str, Field(description="The limit less what is spent and held; below zero where a soft budget is passed.")
    ]
    runs_out_on: Annotated[
        date | None,
        Field(
            description="The day on which this month's average spending uses it up; not told where that is after the month."
        ),
    ] = None


class BudgetReport(BaseModel):
    tenant_id: str
    month: Annotated[str, Field(description="`2026-11`, in UTC.")]
    resets_at: AwareDatetime
    budgets: list[BudgetLine]


class Quote(BaseModel):
    model_id: str
    most_usd: Annotated[
        str | None,
        Field(description="The most that the call can cost, a decimal string; absent where the model has no price."),
    ] = None
    fits: Annotated[bool, Field(description="Whether the call would be made now.")]
    code: Annotated[str | None, Field(description="Why it would not: the `code` of the problem.")] = None
    message: str | None = None
    input_tokens: Annotated[int, Field(description="The most tokens that the model can read.")]
    output_tokens: Annotated[int, Field(description="The most tokens that it can make.")]
    images: Annotated[int, Field(description="Images that it can make.")]


class InvokeModelParametersQuery(BaseModel):
    model_id: Annotated[str | None, Field(max_length=2048, min_length=1)] = None
    model_arn: Annotated[str | None, Field(max_length=2048, min_length=20)] = None
    requestId: Annotated[str | None, Field(max_length=128, min_length=1)] = None


class ReportUsageParametersQuery(BaseModel):
    start: Annotated[str | None, Field(max_length=35, min_length=10)] = None
    end: Annotated[str | None, Field(max_length=35, min_length=10)] = None
    group_by: GroupBy | None = "model"


class QuoteInvocationParametersQuery(BaseModel):
    model_id: Annotated[str | None, Field(max_length=2048, min_length=1)] = None
    model_arn: Annotated[str | None, Field(max_length=2048, min_length=20)] = None


class Problem(BaseModel):
    code: Annotated[str, Field(description="Stable, for programs.")]
    message: Annotated[str, Field(description="For people: what is wrong and what to do.")]
    request_id: Annotated[str, Field(description="Of this request.")]
    details: Annotated[
        list[ProblemDetail] | None, Field(description="The single faults of a body, where there are several.")
    ] = None
