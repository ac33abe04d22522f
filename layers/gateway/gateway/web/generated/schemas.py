# Generated from openapi.yaml by scripts/generate/schemas.py; do not edit.

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel


class TooLargeError(BaseModel):
    message: str
    code: Annotated[str | None, Field(description="Absent in API Gateway's own answer.")] = None
    request_id: Annotated[
        str | None,
        Field(description="Absent in API Gateway's own answer, which has the id in its header `x-amzn-RequestId`."),
    ] = None


class Type(StrEnum):
    error = "error"


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


class LegacyToolConfig(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )


class InvokeModelRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    inputs: Annotated[
        Any | None,
        Field(
            description="A string; for `messages_api`, Converse's messages; for embeddings, a string or a list of strings; for a SageMaker endpoint, a string or an object."
        ),
    ] = None
    parameters: Annotated[
        dict[str, Any] | None,
        Field(
            description="The model's own parameters; for `messages_api`, Converse's inferenceConfig and `system`, a string."
        ),
    ] = None
    additional_model_fields: Annotated[
        dict[str, Any] | None, Field(description="Converse's additionalModelRequestFields.")
    ] = None
    tool_config: LegacyToolConfig | None = None
    toolConfig: LegacyToolConfig | None = None
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
    generated_text: Annotated[
        Any | None,
        Field(description="The text of the answer, a string; if the model calls tools, a list of `{toolUse}`."),
    ] = None
    request_id: Annotated[str | None, Field(description="Poll with this id; the answer is not ready.")] = None
    answer_url: Annotated[
        str | None, Field(description="Status 303 only: the URL of the answer, an array like this one.")
    ] = None
    answer_bytes: Annotated[int | None, Field(description="Its size in bytes.")] = None
    embedding: Annotated[
        list[Any] | None,
        Field(
            description="The vector, or the first vector of a list of inputs. For a SageMaker endpoint, its container's output with its own nesting."
        ),
    ] = None
    embeddings: Annotated[
        list[list[float]] | None,
        Field(description="All vectors, in the order of the inputs, if the request had several."),
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
    partial: Annotated[
        bool,
        Field(description="The money covers only some calls: the others have no price yet, or their usage is unknown."),
    ]
    unpriced_invocations: Annotated[int, Field(description="Calls with usage but no price yet. They are never free.")]
    unsettled_invocations: Annotated[int, Field(description="Calls of unknown usage; no other number includes them.")]
    open_invocations: Annotated[int, Field(description="Calls that have not settled yet.")]


class UserSource(StrEnum):
    token = "token"
    key = "key"
    claimed = "claimed"


class UsageLine(BaseModel):
    key: Annotated[
        str,
        Field(
            description="The model, cost centre, day, hour, user, key or value of the tag of this line. The line of calls without a user, or without that tag, has the empty key."
        ),
    ]
    name: Annotated[
        str | None,
        Field(description="Only by user: the name behind a hash, as long as the tenant's `names_kept_days` keep it."),
    ] = None
    user_source: Annotated[
        UserSource | None,
        Field(
            description="Only by user: how the gateway knows the user of this line. `token` and `key` are verified; a client named a `claimed` user. The same name from two sources is two lines."
        ),
    ] = None
    totals: UsageTotals


class UsageReport(BaseModel):
    tenant_id: str
    start: AwareDatetime
    end: AwareDatetime
    group_by: Annotated[str, Field(description="As in the request.")]
    totals: UsageTotals
    lines: list[UsageLine]
    unreadable_rows: Annotated[
        int,
        Field(
            description="Unreadable records of calls. No other number includes them; the gateway notifies its operators. A member sees none."
        ),
    ]


class Quote(BaseModel):
    model_id: str
    most_usd: Annotated[
        str | None, Field(description="The call's maximum cost, a decimal string; absent if the model has no price.")
    ] = None
    fits: Annotated[bool, Field(description="Whether the gateway would run the call now.")]
    code: Annotated[str | None, Field(description="The reason for a refusal: the `code` of the problem.")] = None
    message: str | None = None
    input_tokens: Annotated[int, Field(description="The maximum number of input tokens.")]
    output_tokens: Annotated[int, Field(description="The maximum number of output tokens.")]
    images: Annotated[int, Field(description="The maximum number of images.")]


class Threshold(RootModel[int]):
    root: Annotated[int, Field(ge=1, le=1000)]


class Budget(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    monthly_usd: Annotated[
        str, Field(description="A decimal string, such as `0.12`.", pattern="^[0-9]{1,9}(\\.[0-9]{1,12})?$")
    ]
    hard: bool | None = False
    thresholds: Annotated[
        list[Threshold] | None,
        Field(
            description="Percentages of the limit at which the gateway warns, once a month each; 50, 80 and 100 by default.",
            max_length=10,
        ),
    ] = None


class BudgetWindow(StrEnum):
    day = "day"
    week = "week"
    month = "month"
    total = "total"


class BudgetScope(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    user: Annotated[
        str | None, Field(description="A user, or `*`.", pattern="^(\\*|[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]{0,127})$")
    ] = None
    key: Annotated[str | None, Field(description="A key's id, or `*`.", pattern="^(\\*|[A-Za-z0-9_]{1,64})$")] = None
    cost_centre: Annotated[
        str | None, Field(description="A cost centre, or `*`.", pattern="^(\\*|[A-Za-z0-9][A-Za-z0-9_.:@ -]{0,127})$")
    ] = None
    model: Annotated[
        str | None,
        Field(description="A model id, a pattern such as `*opus*`, or `*`.", pattern="^[A-Za-z0-9_.:/*?-]{1,256}$"),
    ] = None


class WeekBegins(StrEnum):
    monday = "monday"
    tuesday = "tuesday"
    wednesday = "wednesday"
    thursday = "thursday"
    friday = "friday"
    saturday = "saturday"
    sunday = "sunday"


class RateLimit(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    scope: BudgetScope | None = None
    requests_per_minute: Annotated[int | None, Field(ge=1, le=1000000)] = None
    tokens_per_minute: Annotated[int | None, Field(ge=1, le=1000000000)] = None
    concurrent_invocations: Annotated[int | None, Field(ge=1, le=100000)] = None


class BudgetLoan(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    scope: BudgetScope | None = None
    window: BudgetWindow
    usd: Annotated[
        str, Field(description="A decimal string in USD, such as `0.12`.", pattern="^[0-9]{1,9}(\\.[0-9]{1,12})?$")
    ]
    until: AwareDatetime


class BudgetReset(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    scope: BudgetScope | None = None
    window: BudgetWindow


class CostCentre(RootModel[str]):
    root: Annotated[str, Field(max_length=128, min_length=1)]


class AllowedModel(RootModel[str]):
    root: Annotated[str, Field(max_length=256, min_length=1)]


class AllowedModelArn(RootModel[str]):
    root: Annotated[str, Field(max_length=2048, min_length=1)]


class AllowedOperation(RootModel[str]):
    root: Annotated[str, Field(pattern="^[a-z][a-z_-]{0,63}$")]


class Unpriced(StrEnum):
    block = "block"
    park = "park"
    allow = "allow"


class S3Bucket(RootModel[str]):
    root: Annotated[str, Field(max_length=63, min_length=3)]


class Reset(BaseModel):
    scope: BudgetScope
    window: BudgetWindow
    period: str
    times: int


class Users(StrEnum):
    clear = "clear"
    hash = "hash"
    none = "none"


class Tags(StrEnum):
    clear = "clear"
    hash = "hash"
    none = "none"


class AttributionSettings(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    users: Annotated[Users | None, Field(description="Users, whatever names them: a token, a key or a claim.")] = (
        "clear"
    )
    tags: Annotated[Tags | None, Field(description="The values of tags; their names stay clear.")] = "clear"
    names_kept_days: Annotated[
        int | None,
        Field(
            description="How long after its last use the name behind a hash is known to reports; 0 keeps none.",
            ge=0,
            le=730,
        ),
    ] = 0


class Guardrail(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    id: Annotated[str, Field(description="Its id or ARN.", max_length=2048, min_length=1)]
    version: Annotated[str, Field(description="A number, or `DRAFT`.", pattern="^(([1-9][0-9]{0,7})|(DRAFT))$")]


class Role(StrEnum):
    member = "member"
    auditor = "auditor"
    tenant_admin = "tenant-admin"
    operator = "operator"


class KeyRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    label: Annotated[str | None, Field(description="The key's purpose.", max_length=256)] = None
    user_id: Annotated[
        str | None,
        Field(
            description="A person or an application of the tenant. A call by its key is attributed to it.",
            max_length=128,
            min_length=1,
            pattern="^[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]*$",
        ),
    ] = None
    role: Role | None = None
    cost_centres: Annotated[
        list[CostCentre] | None,
        Field(
            description="The only cost centres of the tenant that the key may charge; the first by default. All if omitted.",
            max_length=100,
        ),
    ] = None
    expires_at: Annotated[
        AwareDatetime | None, Field(description="The time at which the key expires; never by default.")
    ] = None


class Audience(RootModel[str]):
    root: Annotated[str, Field(max_length=256, min_length=1)]


class Tenant1(RootModel[str]):
    root: Annotated[str, Field(max_length=128, min_length=1)]


class TokenAlgorithm(StrEnum):
    RS256 = "RS256"
    RS384 = "RS384"
    RS512 = "RS512"
    PS256 = "PS256"
    PS384 = "PS384"
    PS512 = "PS512"
    ES256 = "ES256"
    ES384 = "ES384"
    ES512 = "ES512"
    EdDSA = "EdDSA"


class Jwks(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    keys: Annotated[list[dict[str, Any]], Field(max_length=50, min_length=1)]


class ClaimMap(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    tenant: Annotated[
        str | None,
        Field(
            description="A tenant's id. Required, unless the issuer has exactly one tenant.",
            max_length=256,
            min_length=1,
        ),
    ] = None
    cost_centre: Annotated[
        str | None,
        Field(
            description="The cost centres that the caller may charge, as text or a list. A token without one is refused.",
            max_length=256,
            min_length=1,
        ),
    ] = None
    user: Annotated[str | None, Field(description="The user's stable id.", max_length=256, min_length=1)] = "sub"
    role: Annotated[
        str | None,
        Field(
            description="Roles, as text or a list; with `roles`, the values that this map names, and no others. The strongest wins; without one the caller is a member.",
            max_length=256,
            min_length=1,
        ),
    ] = None


class User(BaseModel):
    user_id: Annotated[
        str,
        Field(
            description="A person or an application of the tenant. A call by its key is attributed to it.",
            max_length=128,
            min_length=1,
            pattern="^[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]*$",
        ),
    ]
    user_name: Annotated[str, Field(description="The name by which the directory knows it.")]
    display_name: str | None = None
    external_id: Annotated[str | None, Field(description="The directory's id of it.")] = None
    email: str | None = None
    active: Annotated[bool, Field(description="Whether it is switched on.")]
    created_at: AwareDatetime
    changed_at: AwareDatetime


class UserSettings(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    user_name: Annotated[
        str | None,
        Field(
            description="A person or an application of the tenant. A call by its key is attributed to it.",
            max_length=128,
            min_length=1,
            pattern="^[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]*$",
        ),
    ] = None
    display_name: Annotated[str | None, Field(max_length=256)] = None
    external_id: Annotated[
        str | None,
        Field(
            description="A person or an application of the tenant. A call by its key is attributed to it.",
            max_length=128,
            min_length=1,
            pattern="^[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]*$",
        ),
    ] = None
    email: Annotated[str | None, Field(max_length=256)] = None
    active: Annotated[
        bool | None,
        Field(
            description="If false, its tokens and the keys that it owns answer 403. If omitted, it stays as it is; a new user is active."
        ),
    ] = None


class UserPage(BaseModel):
    users: list[User]
    next: Annotated[str | None, Field(description="The start of the next page; absent on the last page.")] = None


class OwnKeyRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    label: Annotated[str | None, Field(description="The key's purpose.", max_length=256)] = None
    cost_centres: Annotated[
        list[CostCentre] | None,
        Field(
            description="The only cost centres that the key may charge; by default those of the caller.", max_length=100
        ),
    ] = None
    expires_at: Annotated[
        AwareDatetime | None,
        Field(description="The time at which the key expires; by default that of the caller's key."),
    ] = None


class UserSource1(StrEnum):
    token = "token"
    key = "key"


class ScimUser(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    schemas: list[str] | None = None
    id: str | None = None
    userName: Annotated[str, Field(max_length=128, min_length=1)]
    externalId: Annotated[str | None, Field(max_length=128)] = None
    displayName: Annotated[str | None, Field(max_length=256)] = None
    active: Annotated[Any | None, Field(description="A boolean, or its text.")] = None
    emails: list[dict[str, Any]] | None = None
    meta: dict[str, Any] | None = None


class ScimPatch(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    schemas: list[str] | None = None
    Operations: Annotated[list[dict[str, Any]], Field(max_length=100)]


class ScimList(BaseModel):
    schemas: list[str]
    totalResults: int
    startIndex: int
    itemsPerPage: int
    Resources: list[dict[str, Any]]


class ScimAnswer(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    schemas: list[str]


class RotationRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    overlap_seconds: Annotated[int | None, Field(description="How long the old key still works.", ge=0, le=7776000)] = (
        86400
    )


class DecoyRequest(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    label: Annotated[str | None, Field(description="The decoy's location.", max_length=256)] = None


class AuditActor(BaseModel):
    arn: Annotated[
        str,
        Field(
            description="The AWS principal; `key:TENANT/KEY_ID` or `user:TENANT/USER_ID` for a caller with a key or a token. A tenant's own callers see `operator` for everybody outside the tenant."
        ),
    ]
    access_key_id: Annotated[str | None, Field(description="Of an AWS principal.")] = None
    source_ip: str | None = None
    user_id: Annotated[
        str | None,
        Field(
            description="A person or an application of the tenant. A call by its key is attributed to it.",
            max_length=128,
            min_length=1,
            pattern="^[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]*$",
        ),
    ] = None
    role: Role | None = None


class AuditRecord(BaseModel):
    audit_id: str
    at: AwareDatetime
    action: Annotated[str, Field(description="Such as `change_tenant` or `revoke_key`.")]
    actor: AuditActor
    tenant_id: str | None = None
    key_id: str | None = None
    before: Annotated[
        dict[str, Any] | None, Field(description="The state before the action; absent for a creation.")
    ] = None
    after: Annotated[dict[str, Any] | None, Field(description="The state after the action; absent for a deletion.")] = (
        None
    )


class AuditPage(BaseModel):
    records: list[AuditRecord]
    next: Annotated[str | None, Field(description="The start of the next page; absent on the last page.")] = None


class ErrorBody(BaseModel):
    type: Annotated[
        str,
        Field(
            description="`invalid_request_error`, `authentication_error`, `permission_error`, `not_found_error`, `request_too_large`, `rate_limit_error`, `timeout_error` or `api_error`."
        ),
    ]
    message: Annotated[str, Field(description="For people: the fault and the remedy.")]
    code: Annotated[str | None, Field(description="Same as the `message` beside `error`.")] = None
    param: Annotated[Any | None, Field(description="The field at fault; null or absent if there is none.")] = None


class InvokeModelParametersQuery(BaseModel):
    model_id: Annotated[str | None, Field(max_length=2048, min_length=1)] = None
    model_arn: Annotated[str | None, Field(max_length=2048)] = None
    requestId: Annotated[str | None, Field(max_length=128, min_length=1)] = None


class ReportUsageParametersQuery(BaseModel):
    start: Annotated[str | None, Field(max_length=35, min_length=10)] = None
    end: Annotated[str | None, Field(max_length=35, min_length=10)] = None
    group_by: Annotated[str | None, Field(max_length=132, pattern="^(model|cost_centre|day|hour|user|key|tag:.+)$")] = (
        "model"
    )


class QuoteInvocationParametersQuery(BaseModel):
    model_id: Annotated[str | None, Field(max_length=2048, min_length=1)] = None
    model_arn: Annotated[str | None, Field(max_length=2048)] = None


class ListScimUsersParametersQuery(BaseModel):
    filter: Annotated[str | None, Field(max_length=512, min_length=1)] = None
    startIndex: int | None = 1
    count: Annotated[int | None, Field(ge=0)] = 100


class ListTenantsParametersQuery(BaseModel):
    limit: Annotated[int | None, Field(ge=1, le=100)] = 50
    next: Annotated[str | None, Field(max_length=1024, min_length=1)] = None


class ListUsersParametersQuery(BaseModel):
    limit: Annotated[int | None, Field(ge=1, le=100)] = 50
    next: Annotated[str | None, Field(max_length=1024, min_length=1)] = None


class ListIssuersParametersQuery(BaseModel):
    limit: Annotated[int | None, Field(ge=1, le=100)] = 50
    next: Annotated[str | None, Field(max_length=1024, min_length=1)] = None


class ListAuditParametersQuery(BaseModel):
    limit: Annotated[int | None, Field(ge=1, le=100)] = 50
    next: Annotated[str | None, Field(max_length=1024, min_length=1)] = None
    tenant_id: Annotated[str | None, Field(max_length=128, min_length=1)] = None


class Problem(BaseModel):
    code: Annotated[str, Field(description="Stable, for programs.")]
    message: Annotated[str, Field(description="For people: the fault and the remedy.")]
    request_id: Annotated[str, Field(description="The id of this request.")]
    details: Annotated[
        list[ProblemDetail] | None, Field(description="The individual faults of a body that has several.")
    ] = None
    type: Annotated[Type | None, Field(description="Present in API Gateway's own answers, for the Anthropic SDKs.")] = (
        None
    )
    error: ErrorBody | None = None


class BudgetLine(BaseModel):
    scope: Annotated[
        Any,
        Field(
            description="The calls that the budget counts: an object as in the tenant's `budgets`. It is the word `tenant` or `cost_centre` for `budget` and `cost_centre_budgets` of the tenant's record."
        ),
    ]
    cost_centre: Annotated[str | None, Field(description="The cost centre, where the scope is `cost_centre`.")] = None
    monthly_usd: Annotated[
        str | None, Field(description="The limit, where the scope is `tenant` or `cost_centre`.")
    ] = None
    window: BudgetWindow
    limit_usd: Annotated[str, Field(description="The limit of the period, with what is lent.")]
    lent_usd: Annotated[str | None, Field(description="The part of the limit that is lent.")] = None
    hard: Annotated[bool, Field(description="A hard budget refuses calls that exceed it; a soft budget warns.")]
    spent: str
    held: Annotated[
        str, Field(description="The sum reserved for running calls, and for calls whose usage or price is unknown.")
    ]
    available: Annotated[
        str, Field(description="The limit minus spent and held; negative once a soft budget is exceeded.")
    ]
    resets_at: Annotated[AwareDatetime | None, Field(description="The end of the period; absent for a total.")] = None
    runs_out_at: Annotated[
        AwareDatetime | None,
        Field(
            description="The time at which the budget runs out at this period's average spending; absent if it lasts."
        ),
    ] = None
    runs_out_on: Annotated[date | None, Field(description="The day (UTC) of `runs_out_at`.")] = None


class RunsOutFirst(BaseModel):
    scope: BudgetScope
    window: BudgetWindow
    runs_out_at: AwareDatetime


class BudgetReport(BaseModel):
    tenant_id: str
    month: Annotated[str, Field(description="`2026-11`, in the time zone of the tenant's monthly budgets.")]
    resets_at: Annotated[AwareDatetime, Field(description="The end of the month.")]
    budgets: list[BudgetLine]
    runs_out_first: Annotated[
        RunsOutFirst | None,
        Field(description="The budget that runs out first at its period's average spending; absent if all last."),
    ] = None


class ScopedBudget(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    scope: BudgetScope | None = None
    window: BudgetWindow
    limit_usd: Annotated[
        str, Field(description="A decimal string in USD, such as `0.12`.", pattern="^[0-9]{1,9}(\\.[0-9]{1,12})?$")
    ]
    hard: bool | None = False
    thresholds: Annotated[
        list[Threshold] | None,
        Field(
            description="Percentages of the limit at which the gateway warns, once a period each; 50, 80 and 100 by default.",
            max_length=10,
        ),
    ] = None
    time_zone: Annotated[
        str | None,
        Field(
            description="The time zone of the windows, by its name in the IANA database, such as `Europe/Berlin`.",
            max_length=64,
        ),
    ] = "UTC"
    week_begins: Annotated[WeekBegins | None, Field(description="The first day of a week.")] = "monday"


class TenantSettings(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    name: Annotated[
        str | None, Field(description="The display name; the tenant's id by default.", max_length=256, min_length=1)
    ] = None
    cost_centres: Annotated[
        list[CostCentre] | None,
        Field(
            description="The tenant's cost centres, beside its own id. A call that names none is charged to the first.",
            max_length=100,
        ),
    ] = None
    suspended: Annotated[bool | None, Field(description="Its keys answer 403 as long as this is true.")] = False
    allowed_models: Annotated[
        list[AllowedModel] | None,
        Field(
            description="Patterns of model ids, such as `anthropic.*`. If omitted, the parameter DefaultModelAccess decides.",
            max_length=100,
        ),
    ] = None
    allowed_model_arns: Annotated[
        list[AllowedModelArn] | None,
        Field(
            description="Patterns of ARNs that `model_arn` may name; none by default. A foundation model's ARN counts as its model id and needs no pattern.",
            max_length=50,
        ),
    ] = None
    allowed_operations: Annotated[
        list[AllowedOperation] | None,
        Field(description="The kinds of output that the tenant may request; everything by default.", max_length=20),
    ] = None
    max_output_tokens: Annotated[
        int | None, Field(description="The maximum that a call may request.", ge=1, le=10000000)
    ] = None
    tokens_per_minute: Annotated[int | None, Field(ge=1, le=1000000000)] = None
    concurrent_invocations: Annotated[int | None, Field(ge=1, le=100000)] = None
    budget: Budget | None = None
    cost_centre_budgets: Annotated[
        dict[str, Budget] | None,
        Field(description="Budgets of the tenant's individual cost centres, beside the tenant's own."),
    ] = None
    budgets: Annotated[
        list[ScopedBudget] | None,
        Field(
            description="Budgets of any scope and window. A call must fit into each hard budget that counts it. A scope has one budget for each window.",
            max_length=100,
        ),
    ] = None
    rate_limits: Annotated[
        list[RateLimit] | None,
        Field(description="Limits of requests, tokens and concurrent calls of any scope.", max_length=100),
    ] = None
    budget_shards: Annotated[
        int | None,
        Field(
            description="Over how many items a busy tenant's budget is spread. A change holds from the next month on.",
            ge=1,
            le=64,
        ),
    ] = 1
    unpriced: Annotated[
        Unpriced | None,
        Field(
            description="The treatment of a call whose model, tier or component has no price. The default is `block` with a hard budget, otherwise `allow`."
        ),
    ] = None
    idempotency_seconds: Annotated[
        int | None,
        Field(description="How long answers are kept for a repeated Idempotency-Key; 0 keeps none.", ge=0, le=604800),
    ] = 0
    guardrail: Guardrail | None = None
    s3_buckets: Annotated[
        list[S3Bucket] | None,
        Field(
            description="Buckets from which the model's service may read a call's files (`s3Location`), with the gateway's role; none by default.",
            max_length=50,
        ),
    ] = None
    attribution: AttributionSettings | None = None
    usage_plan_key: Annotated[
        str | None,
        Field(
            description="The value of the API key whose usage plan throttles the tenant. By default the default plan applies.",
            pattern="^[A-Za-z0-9]{20,128}$",
        ),
    ] = None


class Tenant(BaseModel):
    tenant_id: str
    name: str
    cost_centres: list[str]
    suspended: bool
    allowed_models: list[str] | None = None
    allowed_model_arns: list[str] | None = None
    allowed_operations: list[str] | None = None
    max_output_tokens: int | None = None
    tokens_per_minute: int | None = None
    concurrent_invocations: int | None = None
    budget: Budget | None = None
    cost_centre_budgets: dict[str, Budget] | None = None
    budgets: list[ScopedBudget] | None = None
    rate_limits: list[RateLimit] | None = None
    loans: Annotated[list[BudgetLoan] | None, Field(description="What the tenant's budgets were lent.")] = None
    resets: Annotated[
        list[Reset] | None, Field(description="The budgets that were reset, with the period and how often.")
    ] = None
    budget_shards: int | None = None
    shards_since: Annotated[
        str | None, Field(description="The month from which the last change of `budget_shards` holds.")
    ] = None
    shards_before: Annotated[int | None, Field(description="The number of shards before that month.")] = None
    unpriced: Unpriced | None = None
    idempotency_seconds: int | None = None
    guardrail: Guardrail | None = None
    s3_buckets: list[str] | None = None
    attribution: AttributionSettings | None = None
    usage_plan_key: str | None = None
    version: Annotated[int, Field(description="The number of changes.")]


class TenantPage(BaseModel):
    tenants: list[Tenant]
    next: Annotated[str | None, Field(description="The start of the next page; absent on the last page.")] = None


class Key(BaseModel):
    key_id: str
    label: str
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    last_used: Annotated[date | None, Field(description="The last day (UTC) of use.")] = None
    revoked: bool
    decoy: bool | None = None
    user_id: Annotated[
        str | None,
        Field(
            description="A person or an application of the tenant. A call by its key is attributed to it.",
            max_length=128,
            min_length=1,
            pattern="^[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]*$",
        ),
    ] = None
    role: Role | None = None
    cost_centres: Annotated[
        list[str] | None, Field(description="The only cost centres that it may charge; all of the tenant if absent.")
    ] = None


class KeyList(BaseModel):
    keys: list[Key]


class NewKey(BaseModel):
    key_id: str
    key: Annotated[str, Field(description="The key itself. Only this response shows it.")]
    label: str
    created_at: AwareDatetime
    expires_at: AwareDatetime | None = None
    user_id: Annotated[
        str | None,
        Field(
            description="A person or an application of the tenant. A call by its key is attributed to it.",
            max_length=128,
            min_length=1,
            pattern="^[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]*$",
        ),
    ] = None
    role: Role | None = None
    cost_centres: Annotated[
        list[str] | None, Field(description="The only cost centres that it may charge; all of the tenant if absent.")
    ] = None


class IssuerSettings(BaseModel):
    model_config = ConfigDict(
        extra="forbid",
    )
    issuer: Annotated[
        str,
        Field(
            description="The exact `iss` of its tokens, an https URL. No other record may have it.",
            max_length=512,
            min_length=9,
        ),
    ]
    audiences: Annotated[
        list[Audience],
        Field(
            description="A token must name one of them in `aud`; a Cognito access token, in `client_id`. A token with several audiences also needs an `azp` of this list.",
            max_length=20,
            min_length=1,
        ),
    ]
    algorithms: Annotated[
        list[TokenAlgorithm],
        Field(description="The signature algorithms that its tokens may use.", max_length=10, min_length=1),
    ]
    tenants: Annotated[
        list[Tenant1],
        Field(description="The tenants that its tokens may name; `*` alone means all.", max_length=90, min_length=1),
    ]
    jwks: Jwks | None = None
    jwks_uri: Annotated[
        str | None,
        Field(
            description="The https address of its public keys. Without this and `jwks`, the gateway reads it from the discovery document.",
            max_length=1024,
            min_length=9,
        ),
    ] = None
    claims: ClaimMap | None = None
    roles: Annotated[
        dict[str, Role] | None,
        Field(description="Roles by values of the role claim, such as the names of groups.", max_length=100),
    ] = None


class Issuer(BaseModel):
    issuer_id: str
    issuer: str
    audiences: list[str]
    algorithms: list[TokenAlgorithm]
    tenants: list[str]
    jwks: Jwks | None = None
    jwks_uri: str | None = None
    claims: ClaimMap
    roles: dict[str, Role] | None = None
    version: Annotated[int, Field(description="The number of changes.")]


class IssuerPage(BaseModel):
    issuers: list[Issuer]
    next: Annotated[str | None, Field(description="The start of the next page; absent on the last page.")] = None


class Me(BaseModel):
    tenant_id: str
    tenant_name: str | None = None
    key_id: Annotated[str | None, Field(description="The key of this request; absent for a token.")] = None
    user_id: Annotated[
        str | None,
        Field(
            description="A person or an application of the tenant. A call by its key is attributed to it.",
            max_length=128,
            min_length=1,
            pattern="^[A-Za-z0-9][A-Za-z0-9_.:@|/+=-]*$",
        ),
    ] = None
    user_source: Annotated[UserSource1 | None, Field(description="What says who the user is.")] = None
    role: Role
    cost_centres: Annotated[
        list[str], Field(description="The cost centres that the caller may charge; the first by default.")
    ]
    allowed_models: Annotated[
        list[str] | None,
        Field(
            description="Patterns of the models that it may call; the gateway's default if absent. `/list_foundation_models` lists them."
        ),
    ] = None
    allowed_operations: Annotated[
        list[str] | None, Field(description="The kinds of output that it may request; all if absent.")
    ] = None
    max_output_tokens: int | None = None
    tokens_per_minute: Annotated[int | None, Field(description="Of the tenant.")] = None
    concurrent_invocations: Annotated[int | None, Field(description="Of the tenant.")] = None
    may: Annotated[
        list[str], Field(description="The operations of administration that its role allows, by operationId.")
    ]
    budget: BudgetReport


class ScimError(BaseModel):
    schemas: list[str] | None = None
    status: Annotated[str | None, Field(description="The status of HTTP.")] = None
    scimType: Annotated[str | None, Field(description="Such as `uniqueness` or `invalidValue`.")] = None
    detail: Annotated[str | None, Field(description="Same as `message`.")] = None
    code: Annotated[str, Field(description="Stable, for programs.")]
    message: Annotated[str, Field(description="For people: the fault and the remedy.")]
    request_id: Annotated[str, Field(description="The id of this request.")]
    details: Annotated[
        list[ProblemDetail] | None, Field(description="The individual faults of a body that has several.")
    ] = None
    type: Annotated[Type | None, Field(description="Present in API Gateway's own answers, for the Anthropic SDKs.")] = (
        None
    )
    error: ErrorBody | None = None
