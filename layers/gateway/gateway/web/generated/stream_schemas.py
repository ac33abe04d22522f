# Generated from openapi.yaml by scripts/generate/schemas.py; do not edit.
# ruff: noqa
# fmt: off
# mypy: ignore-errors

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, RootModel


class TooLargeError(BaseModel):
    message: str
    code: Annotated[str | None, Field(description="Absent where API Gateway says it.")] = None
    request_id: Annotated[
        str | None, Field(description="Absent where API Gateway says it, whose header `x-amzn-RequestId` has it.")
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
    tool_config: Annotated[
        dict[str, Any] | None,
        Field(
            description="Converse's toolConfig. The model's calls of tools come back as `generated_text`, a list of `{toolUse}`."
        ),
    ] = None
    text_prompts: Annotated[
        list[dict[str, Any]] | None, Field(description="The prompts of a Stability image model.")
    ] = None
    textToImageParams: Annotated[
        dict[str, Any] | None, Field(description="The prompt of a Titan or Nova image model.")
    ] = None


class ErrorBody(BaseModel):
    type: Annotated[
        str,
        Field(
            description="`invalid_request_error`, `authentication_error`, `permission_error`, `not_found_error`, `request_too_large`, `rate_limit_error`, `timeout_error` or `api_error`."
        ),
    ]
    message: Annotated[str, Field(description="For people: what is wrong and what to do.")]
    code: Annotated[str | None, Field(description="As beside `error`.")] = None
    param: Annotated[Any | None, Field(description="The field that is wrong; null or absent where there is none.")] = (
        None
    )


class OpenAIError(BaseModel):
    error: ErrorBody
    code: Annotated[str, Field(description="Stable, for programs.")]
    message: Annotated[str, Field(description="For people: what is wrong and what to do.")]
    request_id: Annotated[str, Field(description="Of this request.")]
    details: Annotated[
        list[ProblemDetail] | None, Field(description="The single faults of a body, where there are several.")
    ] = None


class AnthropicError(BaseModel):
    type: Type
    error: ErrorBody
    code: Annotated[str, Field(description="Stable, for programs.")]
    message: Annotated[str, Field(description="For people: what is wrong and what to do.")]
    request_id: Annotated[str, Field(description="Of this request.")]
    details: Annotated[
        list[ProblemDetail] | None, Field(description="The single faults of a body, where there are several.")
    ] = None


class BedrockError(BaseModel):
    message: Annotated[str, Field(description="For people: what is wrong and what to do.")]
    code: Annotated[str, Field(description="Stable, for programs.")]
    request_id: Annotated[str, Field(description="Of this request.")]
    details: Annotated[
        list[ProblemDetail] | None, Field(description="The single faults of a body, where there are several.")
    ] = None


class ServerSentEvents(RootModel[str]):
    root: Annotated[
        str,
        Field(
            description="Server-sent events (UTF-8): lines `event: …` and `data: …`, an empty line after each event."
        ),
    ]


class AmazonEventStream(RootModel[bytes]):
    root: Annotated[
        bytes,
        Field(
            description="Frames of the AWS event stream encoding, each with its headers, its payload and its checksums."
        ),
    ]


class StreamedText(BaseModel):
    delta: Annotated[str, Field(description="The next piece of the text.")]


class CallUsage(BaseModel):
    input_tokens: int
    output_tokens: int
    cache_read_tokens: int
    cache_write_5m_tokens: int
    cache_write_1h_tokens: int


class ChatFunction(BaseModel):
    name: Annotated[str, Field(max_length=64, min_length=1)]
    description: Annotated[str | None, Field(description="When the model should call it and what it does.")] = None
    parameters: Annotated[dict[str, Any] | None, Field(description="Its arguments, as JSON Schema.")] = None
    strict: Annotated[bool | None, Field(description="Whether arguments have to fit `parameters` exactly.")] = None


class Type2(StrEnum):
    function = "function"


class ChatTool(BaseModel):
    type: Type2
    function: ChatFunction


class ChatCalledFunction(BaseModel):
    name: str
    arguments: Annotated[str, Field(description="JSON text.")]


class ChatToolCall(BaseModel):
    id: str
    type: Type2
    function: ChatCalledFunction


class Role(StrEnum):
    system = "system"
    developer = "developer"
    user = "user"
    assistant = "assistant"
    tool = "tool"


class ChatMessage(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    role: Role
    content: Annotated[
        Any | None,
        Field(
            description="A string, or a list of parts: `{type: text, text}`, `{type: image_url, image_url: {url}}` whose url is a data URL. It may be null where there are `tool_calls`."
        ),
    ] = None
    name: Annotated[str | None, Field(description="Who speaks.")] = None
    tool_calls: Annotated[list[ChatToolCall] | None, Field(description="What the assistant called.")] = None
    tool_call_id: Annotated[str | None, Field(description="Which call a `tool` message answers.")] = None


class ChatStreamOptions(BaseModel):
    include_usage: Annotated[
        bool | None, Field(description="Whether a last chunk, without choices, tells the usage.")
    ] = None


class ChatJsonSchema(BaseModel):
    name: Annotated[str, Field(max_length=64, min_length=1)]
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema", description="The JSON Schema of the answer.")] = (
        None
    )
    strict: bool | None = None


class Type4(StrEnum):
    text = "text"
    json_object = "json_object"
    json_schema = "json_schema"


class ChatResponseFormat(BaseModel):
    type: Type4
    json_schema: ChatJsonSchema | None = None


class ServiceTier(StrEnum):
    auto = "auto"
    default = "default"
    flex = "flex"
    priority = "priority"


class ChatCompletionRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    model: Annotated[
        str,
        Field(
            description="A Bedrock model id, an inference profile's id or ARN, or an alias. See `/v1/models`.",
            max_length=2048,
            min_length=1,
        ),
    ]
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Annotated[
        int | None, Field(description="The most tokens to make, thinking included.", ge=1)
    ] = None
    max_tokens: Annotated[int | None, Field(description="The older name of `max_completion_tokens`.", ge=1)] = None
    temperature: Annotated[
        float | None, Field(description="How freely to choose; many models take 1 at most.", ge=0.0, le=2.0)
    ] = None
    top_p: Annotated[
        float | None,
        Field(description="Choose among the likeliest tokens of this probability together.", ge=0.0, le=1.0),
    ] = None
    stop: Annotated[
        Any | None, Field(description="A string, or a list of strings, that ends the answer and is not part of it.")
    ] = None
    stream: Annotated[bool | None, Field(description="Whether the answer comes as server-sent events.")] = None
    stream_options: ChatStreamOptions | None = None
    tools: list[ChatTool] | None = None
    tool_choice: Annotated[
        Any | None, Field(description="`none`, `auto`, `required`, or `{type: function, function: {name}}`.")
    ] = None
    parallel_tool_calls: Annotated[bool | None, Field(description="Whether one answer may call several tools.")] = None
    response_format: ChatResponseFormat | None = None
    reasoning_effort: Annotated[
        str | None,
        Field(
            description="How long to think, where the model can: `none`, `minimal`, `low`, `medium`, `high` or what else the model knows.",
            max_length=16,
        ),
    ] = None
    service_tier: Annotated[ServiceTier | None, Field(description="How fast and at which price to serve the call.")] = (
        None
    )
    n: Annotated[int | None, Field(description="One answer.", ge=1, le=1)] = None
    seed: Annotated[int | None, Field(description="Ignored; `x-gateway-warning` says so.")] = None
    user: Annotated[str | None, Field(description="Your user, for your own records; not passed on.")] = None
    metadata: Annotated[dict[str, str] | None, Field(description="Your labels, for your own records.")] = None


class Role1(StrEnum):
    assistant = "assistant"


class ChatAnswer(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    role: Role1
    content: Annotated[Any | None, Field(description="The text, a string; null where there is none.")] = None
    refusal: Annotated[Any | None, Field(description="Null.")] = None
    tool_calls: list[ChatToolCall] | None = None


class ChatChoice(BaseModel):
    index: int
    message: ChatAnswer
    finish_reason: Annotated[str, Field(description="`stop`, `length`, `tool_calls` or `content_filter`.")]
    logprobs: Annotated[Any | None, Field(description="Null.")] = None


class PromptTokensDetails(BaseModel):
    cached_tokens: Annotated[
        int | None, Field(description="How many of them were read from the cache; part of `prompt_tokens`.")
    ] = None


class CompletionTokensDetails(BaseModel):
    reasoning_tokens: Annotated[
        int | None, Field(description="How many of them were thoughts; part of `completion_tokens`.")
    ] = None


class ChatUsage(BaseModel):
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptTokensDetails | None = None
    completion_tokens_details: CompletionTokensDetails | None = None


class Object(StrEnum):
    chat_completion = "chat.completion"


class ChatCompletion(BaseModel):
    id: str
    object: Object
    created: Annotated[int, Field(description="Seconds since 1970.")]
    model: Annotated[str, Field(description="The model as it was asked for.")]
    choices: list[ChatChoice]
    usage: ChatUsage
    service_tier: Annotated[
        Any | None, Field(description="The tier that served the call, a string; null or absent where it is not told.")
    ] = None
    system_fingerprint: Annotated[Any | None, Field(description="A string or null.")] = None


class ChatDelta(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    role: Role1 | None = None
    content: Annotated[
        Any | None, Field(description="The next piece of the text, a string; null where there is none.")
    ] = None
    tool_calls: list[dict[str, Any]] | None = None


class ChatChunkChoice(BaseModel):
    index: int
    delta: ChatDelta
    finish_reason: Annotated[Any | None, Field(description="Null until the answer ends; then as ChatChoice's.")] = None
    logprobs: Annotated[Any | None, Field(description="Null.")] = None


class Object1(StrEnum):
    chat_completion_chunk = "chat.completion.chunk"


class ChatCompletionChunk(BaseModel):
    id: str
    object: Object1
    created: int
    model: str
    choices: list[ChatChunkChoice]
    usage: Annotated[
        Any | None, Field(description="A ChatUsage in the last chunk, where it was asked for; null or absent before.")
    ] = None


class EncodingFormat(StrEnum):
    float = "float"
    base64 = "base64"


class EmbeddingsRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    model: Annotated[
        str,
        Field(
            description="A Bedrock model id, an inference profile's id or ARN, or an alias. See `/v1/models`.",
            max_length=2048,
            min_length=1,
        ),
    ]
    input: Annotated[Any, Field(description="A string, or a list of strings.")]
    encoding_format: Annotated[
        EncodingFormat | None,
        Field(description="`float` (the default) makes lists of numbers, `base64` little-endian 32-bit floats."),
    ] = None
    dimensions: Annotated[
        int | None, Field(description="How long the vectors are to be, where the model has a choice.", ge=1, le=65536)
    ] = None
    user: Annotated[str | None, Field(description="Your user, for your own records; not passed on.")] = None


class Object2(StrEnum):
    embedding = "embedding"


class Embedding(BaseModel):
    object: Object2
    index: Annotated[int, Field(description="Which input it is of.")]
    embedding: Annotated[Any, Field(description="A list of numbers, or a string where `encoding_format` is `base64`.")]


class EmbeddingUsage(BaseModel):
    prompt_tokens: int
    total_tokens: int


class Object3(StrEnum):
    list = "list"


class EmbeddingList(BaseModel):
    object: Object3
    data: list[Embedding]
    model: Annotated[str, Field(description="The model as it was asked for.")]
    usage: EmbeddingUsage


class Object4(StrEnum):
    model = "model"


class Type5(StrEnum):
    model = "model"


class Model(BaseModel):
    id: Annotated[str, Field(description="What calls name it by.")]
    object: Object4
    created: Annotated[int, Field(description="Seconds since 1970; 0 where it is not known.")]
    owned_by: Annotated[str, Field(description="Who made it.")]
    type: Annotated[Type5 | None, Field(description="For Anthropic's SDK.")] = None
    display_name: Annotated[str | None, Field(description="For Anthropic's SDK.")] = None
    created_at: Annotated[str | None, Field(description="For Anthropic's SDK; 1970 where it is not known.")] = None


class Object5(StrEnum):
    list = "list"


class ModelList(BaseModel):
    object: Object5
    data: list[Model]
    has_more: bool | None = None
    first_id: Annotated[Any | None, Field(description="The id of the first, or null.")] = None
    last_id: Annotated[
        Any | None, Field(description="The id of the last, or null; what `after_id` names for the next page.")
    ] = None


class ResponseTool(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    type: Annotated[str, Field(max_length=64, min_length=1)]
    name: Annotated[str | None, Field(max_length=128, min_length=1)] = None
    description: Annotated[str | None, Field(description="When the model should call it and what it does.")] = None
    parameters: Annotated[dict[str, Any] | None, Field(description="Its arguments, as JSON Schema.")] = None
    strict: Annotated[bool | None, Field(description="Whether arguments have to fit `parameters` exactly.")] = None
    tools: Annotated[list[dict[str, Any]] | None, Field(description="The tools of a namespace.")] = None


class Type6(StrEnum):
    text = "text"
    json_object = "json_object"
    json_schema = "json_schema"


class ResponseTextFormat(BaseModel):
    type: Type6
    name: Annotated[str | None, Field(max_length=64)] = None
    description: str | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema", description="The JSON Schema of the answer.")] = (
        None
    )
    strict: bool | None = None


class ResponseText(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    format: ResponseTextFormat | None = None


class ResponseReasoning(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    effort: Annotated[
        str | None,
        Field(
            description="How long to think, where the model can: `none`, `minimal`, `low`, `medium`, `high` or what else the model knows.",
            max_length=16,
        ),
    ] = None


class ResponseRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    model: Annotated[
        str,
        Field(
            description="A Bedrock model id, an inference profile's id or ARN, or an alias. See `/v1/models`.",
            max_length=2048,
            min_length=1,
        ),
    ]
    input: Annotated[
        Any,
        Field(
            description="A string, or a list of items: messages (`{role, content}`), `{type: function_call, call_id, name, arguments}` and `{type: function_call_output, call_id, output}`, the same of other tools, `reasoning`, and `{type: item_reference, id}` for what was answered here before."
        ),
    ]
    instructions: Annotated[str | None, Field(description="What the model is to follow before all else.")] = None
    max_output_tokens: Annotated[int | None, Field(description="The most tokens to make, thinking included.", ge=1)] = (
        None
    )
    tools: list[ResponseTool] | None = None
    tool_choice: Annotated[
        Any | None, Field(description="`none`, `auto`, `required`, or `{type: function, name}`.")
    ] = None
    parallel_tool_calls: Annotated[bool | None, Field(description="Whether one answer may call several tools.")] = None
    temperature: Annotated[
        float | None, Field(description="How freely to choose; many models take 1 at most.", ge=0.0, le=2.0)
    ] = None
    top_p: Annotated[
        float | None,
        Field(description="Choose among the likeliest tokens of this probability together.", ge=0.0, le=1.0),
    ] = None
    text: ResponseText | None = None
    reasoning: ResponseReasoning | None = None
    stream: Annotated[bool | None, Field(description="Whether the answer comes as server-sent events.")] = None
    store: Annotated[
        bool | None, Field(description="With false nothing of the answer is kept for an `item_reference`.")
    ] = True
    service_tier: Annotated[ServiceTier | None, Field(description="How fast and at which price to serve the call.")] = (
        None
    )
    user: Annotated[str | None, Field(description="Your user, for your own records; not passed on.")] = None
    metadata: Annotated[dict[str, str] | None, Field(description="Your labels; the answer has them as well.")] = None


class ResponsePart(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    type: Annotated[str, Field(description="`output_text` or `refusal`.")]
    text: str | None = None
    annotations: list[dict[str, Any]] | None = None


class ResponseItem(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    type: Annotated[str, Field(description="`message`, `function_call` or `reasoning`.")]
    id: str
    status: str | None = None
    role: Annotated[str | None, Field(description="`assistant`, of a message.")] = None
    content: Annotated[list[ResponsePart] | None, Field(description="The parts of a message.")] = None
    call_id: Annotated[str | None, Field(description="What `function_call_output` answers with.")] = None
    name: str | None = None
    arguments: Annotated[str | None, Field(description="JSON text.")] = None


class ResponseInputTokensDetails(BaseModel):
    cached_tokens: Annotated[
        int | None, Field(description="How many of them were read from the cache; part of `input_tokens`.")
    ] = None


class ResponseOutputTokensDetails(BaseModel):
    reasoning_tokens: Annotated[
        int | None, Field(description="How many of them were thoughts; part of `output_tokens`.")
    ] = None


class ResponseUsage(BaseModel):
    input_tokens: int
    input_tokens_details: ResponseInputTokensDetails | None = None
    output_tokens: int
    output_tokens_details: ResponseOutputTokensDetails | None = None
    total_tokens: int


class Object6(StrEnum):
    response = "response"


class Status(StrEnum):
    completed = "completed"
    incomplete = "incomplete"
    failed = "failed"
    in_progress = "in_progress"


class ModelResponse(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    id: str
    object: Object6
    created_at: Annotated[float, Field(description="Seconds since 1970.")]
    status: Status
    model: Annotated[str, Field(description="The model as it was asked for.")]
    output: list[ResponseItem]
    usage: Annotated[Any | None, Field(description="A ResponseUsage; null or absent until the answer ends.")] = None
    error: Annotated[Any | None, Field(description="`{code, message}` where the status is `failed`, else null.")] = None
    incomplete_details: Annotated[
        Any | None,
        Field(
            description="`{reason}`, `max_output_tokens` or `content_filter`, where the status is `incomplete`; else null."
        ),
    ] = None


class ResponseEvent(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    type: Annotated[
        str, Field(description="Such as `response.created`, `response.output_text.delta` or `response.completed`.")
    ]
    sequence_number: int
    response: ModelResponse | None = None
    delta: str | None = None
    output_index: int | None = None
    content_index: int | None = None
    item_id: str | None = None
    item: ResponseItem | None = None


class Role3(StrEnum):
    user = "user"
    assistant = "assistant"
    system = "system"


class MessageParam(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    role: Role3
    content: Annotated[
        Any,
        Field(
            description="A string, or a list of blocks: `text`, `image`, `document`, `tool_use`, `tool_result`, `thinking`; each may have `cache_control`."
        ),
    ]


class MessageTool(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    name: Annotated[str, Field(max_length=128, min_length=1)]
    description: Annotated[str | None, Field(description="When the model should call it and what it does.")] = None
    input_schema: Annotated[dict[str, Any] | None, Field(description="Its input, as JSON Schema.")] = None
    type: Annotated[str | None, Field(description="`custom`, or a tool that the model knows and the caller runs.")] = (
        None
    )
    cache_control: Annotated[
        dict[str, Any] | None,
        Field(description="`{type: ephemeral, ttl}`, ttl `5m` or `1h`: cache the prompt up to here."),
    ] = None


class Type7(StrEnum):
    auto = "auto"
    any = "any"
    tool = "tool"
    none = "none"


class MessageToolChoice(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    type: Type7
    name: Annotated[str | None, Field(description="Which tool, for `tool`.")] = None
    disable_parallel_tool_use: Annotated[
        bool | None, Field(description="Whether one answer may call only one tool.")
    ] = None


class Type8(StrEnum):
    enabled = "enabled"
    disabled = "disabled"
    adaptive = "adaptive"


class MessageThinking(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    type: Type8
    budget_tokens: Annotated[
        int | None, Field(description="The most tokens to think with; less than `max_tokens`.", ge=1024)
    ] = None


class MessageMetadata(BaseModel):
    user_id: Annotated[str | None, Field(description="An opaque id of your user.")] = None


class ServiceTier2(StrEnum):
    auto = "auto"
    standard_only = "standard_only"


class MessagesRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    model: Annotated[
        str,
        Field(
            description="A Bedrock model id, an inference profile's id or ARN, or an alias. See `/v1/models`.",
            max_length=2048,
            min_length=1,
        ),
    ]
    max_tokens: Annotated[int, Field(description="The most tokens to make, thinking included.", ge=1)]
    messages: Annotated[list[MessageParam], Field(min_length=1)]
    system: Annotated[
        Any | None, Field(description="A string, or a list of `text` blocks, each of which may have `cache_control`.")
    ] = None
    temperature: Annotated[float | None, Field(description="How freely to choose.", ge=0.0, le=1.0)] = None
    top_p: Annotated[
        float | None,
        Field(description="Choose among the likeliest tokens of this probability together.", ge=0.0, le=1.0),
    ] = None
    top_k: Annotated[int | None, Field(description="Choose among this many likeliest tokens.", ge=0)] = None
    stop_sequences: Annotated[
        list[str] | None, Field(description="Strings that end the answer and are not part of it.")
    ] = None
    stream: Annotated[bool | None, Field(description="Whether the answer comes as server-sent events.")] = None
    tools: list[MessageTool] | None = None
    tool_choice: MessageToolChoice | None = None
    thinking: MessageThinking | None = None
    output_config: Annotated[
        dict[str, Any] | None, Field(description="`effort`, and `format` with the JSON Schema of the answer.")
    ] = None
    service_tier: Annotated[
        ServiceTier2 | None, Field(description="How fast and at which price to serve the call.")
    ] = None
    metadata: MessageMetadata | None = None


class MessageBlock(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    type: Annotated[str, Field(description="`text`, `tool_use`, `thinking` or `redacted_thinking`.")]
    text: str | None = None
    id: Annotated[str | None, Field(description="Of a tool's use.")] = None
    name: Annotated[str | None, Field(description="The tool.")] = None
    input: Annotated[dict[str, Any] | None, Field(description="The tool's input.")] = None
    thinking: str | None = None
    signature: Annotated[str | None, Field(description="Of a thought; send it back unchanged.")] = None


class MessageCacheCreation(BaseModel):
    ephemeral_5m_input_tokens: int | None = None
    ephemeral_1h_input_tokens: int | None = None


class MessageUsage(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    input_tokens: int
    output_tokens: int
    cache_creation_input_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation: MessageCacheCreation | None = None
    service_tier: str | None = None


class Type9(StrEnum):
    message = "message"


class Role4(StrEnum):
    assistant = "assistant"


class Message(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    id: str
    type: Type9
    role: Role4
    model: Annotated[str, Field(description="The model that answered.")]
    content: list[MessageBlock]
    stop_reason: Annotated[
        str,
        Field(
            description="`end_turn`, `max_tokens`, `stop_sequence`, `tool_use`, `refusal` or what else the model knows."
        ),
    ]
    stop_sequence: Annotated[Any | None, Field(description="The one that ended the answer, a string; else null.")] = (
        None
    )
    usage: MessageUsage


class Type10(StrEnum):
    message_start = "message_start"
    content_block_start = "content_block_start"
    content_block_delta = "content_block_delta"
    content_block_stop = "content_block_stop"
    message_delta = "message_delta"
    message_stop = "message_stop"
    ping = "ping"
    error = "error"


class MessageEvent(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    type: Type10
    index: Annotated[int | None, Field(description="Which block.")] = None
    message: Annotated[
        dict[str, Any] | None, Field(description="A Message without content, whose `stop_reason` is null.")
    ] = None
    content_block: MessageBlock | None = None
    delta: dict[str, Any] | None = None
    usage: Annotated[
        dict[str, Any] | None, Field(description="Counts so far; those of the last `message_delta` are final.")
    ] = None
    error: ErrorBody | None = None


class CountMessageTokensRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    model: Annotated[
        str,
        Field(
            description="A Bedrock model id, an inference profile's id or ARN, or an alias. See `/v1/models`.",
            max_length=2048,
            min_length=1,
        ),
    ]
    messages: Annotated[list[MessageParam], Field(min_length=1)]
    system: Annotated[Any | None, Field(description="A string, or a list of `text` blocks.")] = None
    tools: list[MessageTool] | None = None
    tool_choice: MessageToolChoice | None = None
    thinking: MessageThinking | None = None


class MessageTokens(BaseModel):
    input_tokens: int


class ConverseBlock(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    text: str | None = None
    image: Annotated[dict[str, Any] | None, Field(description="`{format, source: {bytes}}`, bytes as base64.")] = None
    document: Annotated[
        dict[str, Any] | None, Field(description="`{name, format, source: {bytes}}`, bytes as base64.")
    ] = None
    video: dict[str, Any] | None = None
    audio: dict[str, Any] | None = None
    toolUse: Annotated[dict[str, Any] | None, Field(description="`{toolUseId, name, input}`.")] = None
    toolResult: Annotated[dict[str, Any] | None, Field(description="`{toolUseId, content, status}`.")] = None
    reasoningContent: dict[str, Any] | None = None
    guardContent: dict[str, Any] | None = None
    cachePoint: Annotated[
        dict[str, Any] | None, Field(description="`{type: default, ttl}`: cache the prompt up to here.")
    ] = None


class Role5(StrEnum):
    user = "user"
    assistant = "assistant"
    system = "system"


class ConverseMessage(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    role: Role5
    content: list[ConverseBlock]


class ConverseInference(BaseModel):
    maxTokens: Annotated[int | None, Field(description="The most tokens to make.", ge=1)] = None
    temperature: Annotated[float | None, Field(description="How freely to choose.", ge=0.0, le=1.0)] = None
    topP: Annotated[
        float | None,
        Field(description="Choose among the likeliest tokens of this probability together.", ge=0.0, le=1.0),
    ] = None
    stopSequences: Annotated[list[str] | None, Field(max_length=2500)] = None


class ConverseTools(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    tools: Annotated[
        list[dict[str, Any]],
        Field(
            description="Each `{toolSpec: {name, description, inputSchema: {json}}}` or `{cachePoint}`.", min_length=1
        ),
    ]
    toolChoice: Annotated[
        dict[str, Any] | None, Field(description="`{auto: {}}`, `{any: {}}` or `{tool: {name}}`.")
    ] = None


class Trace(StrEnum):
    enabled = "enabled"
    disabled = "disabled"
    enabled_full = "enabled_full"


class StreamProcessingMode(StrEnum):
    sync = "sync"
    async_ = "async"


class ConverseGuardrail(BaseModel):
    guardrailIdentifier: Annotated[str | None, Field(max_length=2048)] = None
    guardrailVersion: Annotated[str | None, Field(max_length=16)] = None
    trace: Trace | None = None
    streamProcessingMode: Annotated[StreamProcessingMode | None, Field(description="Of ConverseStream only.")] = None


class Latency(StrEnum):
    standard = "standard"
    optimized = "optimized"


class ConversePerformance(BaseModel):
    latency: Latency | None = None


class Type11(StrEnum):
    priority = "priority"
    default = "default"
    flex = "flex"
    reserved = "reserved"


class ConverseServiceTier(BaseModel):
    type: Type11


class ConverseRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    messages: list[ConverseMessage] | None = None
    system: list[ConverseBlock] | None = None
    inferenceConfig: ConverseInference | None = None
    toolConfig: ConverseTools | None = None
    guardrailConfig: ConverseGuardrail | None = None
    additionalModelRequestFields: Annotated[dict[str, Any] | None, Field(description="What only this model knows.")] = (
        None
    )
    additionalModelResponseFieldPaths: Annotated[
        list[str] | None, Field(description="JSON pointers to fields of the model's own answer.", max_length=10)
    ] = None
    promptVariables: dict[str, Any] | None = None
    requestMetadata: Annotated[
        dict[str, str] | None,
        Field(
            description="At most 16 labels. Those of the gateway (tenant, cost centre, request) are put beside them."
        ),
    ] = None
    performanceConfig: ConversePerformance | None = None
    serviceTier: ConverseServiceTier | None = None
    outputConfig: Annotated[
        dict[str, Any] | None, Field(description="`effort`, and `textFormat` with the JSON Schema of the answer.")
    ] = None


class ConverseOutput(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    message: ConverseMessage | None = None


class ConverseUsage(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    inputTokens: int
    outputTokens: int
    totalTokens: int
    cacheReadInputTokens: int | None = None
    cacheWriteInputTokens: int | None = None
    cacheDetails: Annotated[list[dict[str, Any]] | None, Field(description="Each `{ttl, inputTokens}`.")] = None


class ConverseMetrics(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    latencyMs: int


class ConverseResult(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    output: ConverseOutput
    stopReason: Annotated[
        str,
        Field(
            description="`end_turn`, `tool_use`, `max_tokens`, `stop_sequence`, `guardrail_intervened`, `content_filtered` or what else Bedrock knows."
        ),
    ]
    usage: ConverseUsage
    metrics: ConverseMetrics
    additionalModelResponseFields: dict[str, Any] | None = None
    trace: dict[str, Any] | None = None
    performanceConfig: ConversePerformance | None = None
    serviceTier: ConverseServiceTier | None = None


class ModelBody(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )


class ModelAnswer(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )


class ConverseTokens(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    messages: list[ConverseMessage] | None = None
    system: list[ConverseBlock] | None = None
    toolConfig: ConverseTools | None = None
    additionalModelRequestFields: dict[str, Any] | None = None


class InvokeTokens(BaseModel):
    body: Annotated[str, Field(description="The body of an `invoke`, as base64.")]


class CountTokensInput(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    converse: ConverseTokens | None = None
    invokeModel: InvokeTokens | None = None


class CountTokensRequest(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    input: CountTokensInput


class CountedTokens(BaseModel):
    inputTokens: int


class InferenceProfileModel(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    modelArn: str | None = None


class InferenceProfile(BaseModel):
    model_config = ConfigDict(
        extra="allow",
    )
    inferenceProfileName: str | None = None
    inferenceProfileId: str
    inferenceProfileArn: str
    description: str | None = None
    models: list[InferenceProfileModel] | None = None
    status: str | None = None
    type: Annotated[str | None, Field(description="`SYSTEM_DEFINED` or `APPLICATION`.")] = None
    createdAt: AwareDatetime | None = None
    updatedAt: AwareDatetime | None = None


class InferenceProfiles(BaseModel):
    inferenceProfileSummaries: list[InferenceProfile]
    nextToken: Annotated[str | None, Field(description="Where the next page begins; absent on the last one.")] = None


class StreamModelParametersQuery(BaseModel):
    model_id: Annotated[str, Field(max_length=2048, min_length=1)]
    model_arn: Annotated[str | None, Field(max_length=2048)] = None


class ListModelsParametersQuery(BaseModel):
    limit: Annotated[int | None, Field(ge=1, le=1000)] = None
    after_id: Annotated[str | None, Field(max_length=2048)] = None
    before_id: Annotated[str | None, Field(max_length=2048)] = None


class ByOutputModality(StrEnum):
    TEXT = "TEXT"
    IMAGE = "IMAGE"
    EMBEDDING = "EMBEDDING"


class ByInferenceType(StrEnum):
    ON_DEMAND = "ON_DEMAND"
    PROVISIONED = "PROVISIONED"


class ByCustomizationType(StrEnum):
    FINE_TUNING = "FINE_TUNING"
    CONTINUED_PRE_TRAINING = "CONTINUED_PRE_TRAINING"
    DISTILLATION = "DISTILLATION"


class ListBedrockModelsParametersQuery(BaseModel):
    byProvider: Annotated[str | None, Field(max_length=63, min_length=1)] = None
    byOutputModality: ByOutputModality | None = None
    byInferenceType: ByInferenceType | None = None
    byCustomizationType: ByCustomizationType | None = None


class Type12(StrEnum):
    SYSTEM_DEFINED = "SYSTEM_DEFINED"
    APPLICATION = "APPLICATION"


class ListInferenceProfilesParametersQuery(BaseModel):
    maxResults: Annotated[int | None, Field(ge=1, le=1000)] = None
    nextToken: Annotated[str | None, Field(max_length=2048, min_length=1)] = None
    type: Type12 | None = None


class Problem(BaseModel):
    code: Annotated[str, Field(description="Stable, for programs.")]
    message: Annotated[str, Field(description="For people: what is wrong and what to do.")]
    request_id: Annotated[str, Field(description="Of this request.")]
    details: Annotated[
        list[ProblemDetail] | None, Field(description="The single faults of a body, where there are several.")
    ] = None
    type: Annotated[Type | None, Field(description="Of API Gateway's own answers, for the Anthropic SDKs.")] = None
    error: ErrorBody | None = None


class StreamedUsage(BaseModel):
    usage: CallUsage
    cost: Annotated[Any, Field(description="A decimal string in USD; null where the model has no price yet.")]
    request_id: Annotated[str, Field(description="Of this request.")]
