"""The stand-in's models and inference profiles, as ListFoundationModels describes them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from scripts.dev.fake_models.errors import Refusal, invalid
from scripts.dev.fake_models.exchange import Exchange, refuse

_ACCOUNT = "123456789012"
_DEFAULT_REGION = "us-east-1"
_REGIONS = {
    "us": ("us-east-1", "us-east-2", "us-west-2"),
    "eu": ("eu-central-1", "eu-north-1", "eu-west-1", "eu-west-3"),
    "apac": ("ap-northeast-1", "ap-south-1", "ap-southeast-1", "ap-southeast-2"),
    "jp": ("ap-northeast-1", "ap-northeast-3"),
    "au": ("ap-southeast-2", "ap-southeast-4"),
    "global": ("",),
}
_PREFIXES = (*_REGIONS, "us-gov", "ca", "in", "sa")


@dataclass(frozen=True)
class FoundationModel:
    """A model: the shape of its bodies (`dialect`), its capabilities, and the regions where it is callable."""

    id: str
    name: str
    provider: str
    dialect: str
    inputs: tuple[str, ...] = ("TEXT",)
    output: str = "TEXT"
    streams: bool = True
    profiles: tuple[str, ...] = ()
    on_demand: bool = True
    legacy: bool = False
    customizations: tuple[str, ...] = ()
    provisioned: bool = False

    @property
    def converses(self) -> bool:
        return self.output == "TEXT"

    @property
    def caches(self) -> bool:
        first_claude_3 = ("-3-haiku", "-3-sonnet", "-3-opus", "-3-5-sonnet-20240620")
        return self.dialect == "nova" or (
            self.dialect == "claude" and not any(old in self.id for old in first_claude_3)
        )

    def summary(self, region: str) -> dict[str, Any]:
        """The item of ListFoundationModels."""
        kinds = [
            kind
            for kind, offered in (
                ("ON_DEMAND", self.on_demand),
                ("PROVISIONED", self.provisioned),
                ("INFERENCE_PROFILE", bool(self.profiles) and not self.on_demand),
            )
            if offered
        ]
        return {
            "modelArn": f"arn:aws:bedrock:{region}::foundation-model/{self.id}",
            "modelId": self.id,
            "modelName": self.name,
            "providerName": self.provider,
            "inputModalities": list(self.inputs),
            "outputModalities": [self.output],
            "responseStreamingSupported": self.streams,
            "customizationsSupported": list(self.customizations),
            "inferenceTypesSupported": kinds,
            "modelLifecycle": {"status": "LEGACY" if self.legacy else "ACTIVE"},
        }


def _models() -> Iterator[FoundationModel]:
    model = FoundationModel
    seeing = ("TEXT", "IMAGE")
    geo, west = ("us", "eu", "apac"), ("us", "eu")
    wide = ("us", "eu", "jp", "au", "global")
    tuned: tuple[str, ...] = ("FINE_TUNING",)
    amazon, anthropic, meta, mistral = "Amazon", "Anthropic", "Meta", "Mistral AI"

    both = ("FINE_TUNING", "CONTINUED_PRE_TRAINING")
    yield model(
        "amazon.titan-text-lite-v1", "Titan Text G1 - Lite", amazon, "titan-text", legacy=True, customizations=both
    )
    yield model(
        "amazon.titan-text-express-v1",
        "Titan Text G1 - Express",
        amazon,
        "titan-text",
        legacy=True,
        customizations=both,
    )
    yield model("amazon.titan-text-premier-v1:0", "Titan Text G1 - Premier", amazon, "titan-text", legacy=True)
    yield model("amazon.titan-tg1-large", "Titan Text Large", amazon, "titan-text")
    for identifier, name, inputs, kind in (
        ("amazon.titan-embed-text-v1", "Titan Embeddings G1 - Text", ("TEXT",), "titan-embed"),
        ("amazon.titan-embed-g1-text-02", "Titan Text Embeddings v2", ("TEXT",), "titan-embed"),
        ("amazon.titan-embed-text-v2:0", "Titan Text Embeddings V2", ("TEXT",), "titan-embed-v2"),
        ("amazon.titan-embed-image-v1", "Titan Multimodal Embeddings G1", seeing, "titan-embed-image"),
    ):
        yield model(identifier, name, amazon, kind, inputs, "EMBEDDING", streams=False)
    for identifier, name in (
        ("amazon.titan-image-generator-v1", "Titan Image Generator G1"),
        ("amazon.titan-image-generator-v2:0", "Titan Image Generator G1 v2"),
        ("amazon.nova-canvas-v1:0", "Nova Canvas"),
    ):
        yield model(identifier, name, amazon, "titan-image", seeing, "IMAGE", streams=False)
    for identifier, name, inputs in (
        ("amazon.nova-micro-v1:0", "Nova Micro", ("TEXT",)),
        ("amazon.nova-lite-v1:0", "Nova Lite", seeing),
        ("amazon.nova-pro-v1:0", "Nova Pro", seeing),
    ):
        yield model(identifier, name, amazon, "nova", inputs, profiles=geo, customizations=tuned)
    yield model("amazon.nova-premier-v1:0", "Nova Premier", amazon, "nova", seeing, profiles=("us",), on_demand=False)
    yield model("amazon.nova-2-lite-v1:0", "Nova 2 Lite", amazon, "nova", seeing, profiles=wide, on_demand=False)

    yield model("anthropic.claude-instant-v1", "Claude Instant", anthropic, "claude-text", legacy=True)
    yield model("anthropic.claude-v1", "Claude", anthropic, "claude-text", legacy=True)
    yield model("anthropic.claude-v2", "Claude", anthropic, "claude-text", legacy=True)
    yield model("anthropic.claude-v2:1", "Claude", anthropic, "claude-text", legacy=True)
    claude_3: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("anthropic.claude-3-haiku-20240307-v1:0", "Claude 3 Haiku", geo),
        ("anthropic.claude-3-sonnet-20240229-v1:0", "Claude 3 Sonnet", geo),
        ("anthropic.claude-3-opus-20240229-v1:0", "Claude 3 Opus", ("us",)),
        ("anthropic.claude-3-5-haiku-20241022-v1:0", "Claude 3.5 Haiku", ("us",)),
        ("anthropic.claude-3-5-sonnet-20240620-v1:0", "Claude 3.5 Sonnet", geo),
        ("anthropic.claude-3-5-sonnet-20241022-v2:0", "Claude 3.5 Sonnet v2", ("us", "apac")),
    )
    for identifier, name, where in claude_3:
        yield model(identifier, name, anthropic, "claude", seeing, profiles=where, customizations=tuned)
    claude_4: tuple[tuple[str, str, tuple[str, ...]], ...] = (
        ("anthropic.claude-3-7-sonnet-20250219-v1:0", "Claude 3.7 Sonnet", geo),
        ("anthropic.claude-sonnet-4-20250514-v1:0", "Claude Sonnet 4", (*geo, "global")),
        ("anthropic.claude-opus-4-20250514-v1:0", "Claude Opus 4", ("us",)),
        ("anthropic.claude-opus-4-1-20250805-v1:0", "Claude Opus 4.1", ("us",)),
        ("anthropic.claude-sonnet-4-5-20250929-v1:0", "Claude Sonnet 4.5", wide),
        ("anthropic.claude-haiku-4-5-20251001-v1:0", "Claude Haiku 4.5", wide),
        ("anthropic.claude-opus-4-5-20251101-v1:0", "Claude Opus 4.5", wide),
    )
    for identifier, name, where in claude_4:
        yield model(identifier, name, anthropic, "claude", seeing, profiles=where, on_demand=False)

    yield model("meta.llama2-13b-chat-v1", "Llama 2 Chat 13B", meta, "llama", legacy=True)
    yield model("meta.llama2-70b-chat-v1", "Llama 2 Chat 70B", meta, "llama", legacy=True)
    yield model("meta.llama3-8b-instruct-v1:0", "Llama 3 8B Instruct", meta, "llama")
    yield model("meta.llama3-70b-instruct-v1:0", "Llama 3 70B Instruct", meta, "llama")
    for identifier, name in (
        ("meta.llama3-1-8b-instruct-v1:0", "Llama 3.1 8B Instruct"),
        ("meta.llama3-1-70b-instruct-v1:0", "Llama 3.1 70B Instruct"),
        ("meta.llama3-1-405b-instruct-v1:0", "Llama 3.1 405B Instruct"),
    ):
        yield model(identifier, name, meta, "llama", profiles=("us",), customizations=tuned)
    for identifier, name, inputs in (
        ("meta.llama3-2-1b-instruct-v1:0", "Llama 3.2 1B Instruct", ("TEXT",)),
        ("meta.llama3-2-3b-instruct-v1:0", "Llama 3.2 3B Instruct", ("TEXT",)),
        ("meta.llama3-2-11b-instruct-v1:0", "Llama 3.2 11B Instruct", seeing),
        ("meta.llama3-2-90b-instruct-v1:0", "Llama 3.2 90B Instruct", seeing),
        ("meta.llama3-3-70b-instruct-v1:0", "Llama 3.3 70B Instruct", ("TEXT",)),
        ("meta.llama4-scout-17b-instruct-v1:0", "Llama 4 Scout 17B Instruct", seeing),
        ("meta.llama4-maverick-17b-instruct-v1:0", "Llama 4 Maverick 17B Instruct", seeing),
    ):
        yield model(identifier, name, meta, "llama", inputs, profiles=west, on_demand=False)

    for identifier, name in (
        ("mistral.mistral-7b-instruct-v0:2", "Mistral 7B Instruct"),
        ("mistral.mixtral-8x7b-instruct-v0:1", "Mixtral 8x7B Instruct"),
        ("mistral.mistral-small-2402-v1:0", "Mistral Small (24.02)"),
        ("mistral.mistral-large-2402-v1:0", "Mistral Large (24.02)"),
        ("mistral.mistral-large-2407-v1:0", "Mistral Large (24.07)"),
    ):
        yield model(identifier, name, mistral, "mistral")
    yield model(
        "mistral.pixtral-large-2502-v1:0",
        "Pixtral Large (25.02)",
        mistral,
        "chat",
        seeing,
        profiles=west,
        on_demand=False,
    )

    yield model("cohere.command-text-v14", "Command", "Cohere", "command", legacy=True, customizations=tuned)
    yield model(
        "cohere.command-light-text-v14", "Command Light", "Cohere", "command", legacy=True, customizations=tuned
    )
    yield model("cohere.command-r-v1:0", "Command R", "Cohere", "command-r")
    yield model("cohere.command-r-plus-v1:0", "Command R+", "Cohere", "command-r")
    for identifier, name, inputs in (
        ("cohere.embed-english-v3", "Embed English", ("TEXT", "IMAGE")),
        ("cohere.embed-multilingual-v3", "Embed Multilingual", ("TEXT", "IMAGE")),
    ):
        yield model(identifier, name, "Cohere", "cohere-embed", inputs, "EMBEDDING", streams=False)
    yield model(
        "cohere.embed-v4:0", "Embed v4", "Cohere", "cohere-embed", seeing, "EMBEDDING", False, (*west, "global")
    )

    for identifier, name in (("ai21.j2-mid", "Jurassic-2 Mid"), ("ai21.j2-ultra", "Jurassic-2 Ultra")):
        yield model(identifier, name, "AI21 Labs", "j2", streams=False, legacy=True)
        yield model(f"{identifier}-v1", name, "AI21 Labs", "j2", streams=False, legacy=True)
    yield model("ai21.jamba-instruct-v1:0", "Jamba-Instruct", "AI21 Labs", "chat")
    yield model("ai21.jamba-1-5-mini-v1:0", "Jamba 1.5 Mini", "AI21 Labs", "chat")
    yield model("ai21.jamba-1-5-large-v1:0", "Jamba 1.5 Large", "AI21 Labs", "chat")

    for version in ("", "-v0", "-v1", "-v1:0"):
        identifier = f"stability.stable-diffusion-xl{version}"
        yield model(identifier, "SDXL", "Stability AI", "sdxl", seeing, "IMAGE", streams=False, legacy=True)
    for identifier, name, inputs in (
        ("stability.sd3-large-v1:0", "SD3 Large 1.0", seeing),
        ("stability.sd3-5-large-v1:0", "Stable Diffusion 3.5 Large", seeing),
        ("stability.stable-image-core-v1:0", "Stable Image Core 1.0", ("TEXT",)),
        ("stability.stable-image-core-v1:1", "Stable Image Core 1.0", ("TEXT",)),
        ("stability.stable-image-ultra-v1:0", "Stable Image Ultra 1.0", ("TEXT",)),
        ("stability.stable-image-ultra-v1:1", "Stable Image Ultra 1.0", ("TEXT",)),
    ):
        yield model(identifier, name, "Stability AI", "sd3", inputs, "IMAGE", streams=False)

    yield model("deepseek.r1-v1:0", "DeepSeek-R1", "DeepSeek", "chat", profiles=("us",), on_demand=False)
    yield model("deepseek.v3-v1:0", "DeepSeek-V3.1", "DeepSeek", "chat")
    yield from _newer_models()


_NEWER = (
    # provider, dialect, geographies of its profiles, whether the bare id is callable, ids
    (
        "Anthropic",
        "claude",
        ("us", "eu", "jp", "au", "global"),
        False,
        "anthropic.claude-sonnet-4-6 anthropic.claude-opus-4-6-v1 anthropic.claude-opus-4-7 anthropic.claude-opus-4-8 "
        "anthropic.claude-sonnet-5 anthropic.claude-opus-5 anthropic.claude-sonnet-5-5 anthropic.claude-opus-5-5 "
        "anthropic.claude-haiku-5-5 anthropic.claude-fable-5 anthropic.claude-fable-5-1 "
        "anthropic.claude-mythos-preview anthropic.claude-mythos-5 anthropic.claude-mythos-5-1",
    ),
    (
        "OpenAI",
        "chat",
        ("us", "global"),
        False,
        "openai.gpt-5.4 openai.gpt-5.5 openai.gpt-5.6-luna openai.gpt-5.6-sol openai.gpt-5.6-terra openai.gpt-6-astra "
        "openai.gpt-6.1-sol openai.gpt-6.1-terra",
    ),
    (
        "OpenAI",
        "chat",
        ("us", "global"),
        True,
        "openai.gpt-6-luna openai.gpt-6-sol openai.gpt-oss-20b-1:0 openai.gpt-oss-120b-1:0 "
        "openai.gpt-oss-safeguard-20b openai.gpt-oss-safeguard-120b",
    ),
    (
        "Mistral AI",
        "chat",
        (),
        True,
        "mistral.mistral-large-3-675b-instruct mistral.magistral-small-2509 mistral.devstral-2-123b "
        "mistral.ministral-3-3b-instruct mistral.ministral-3-8b-instruct mistral.ministral-3-14b-instruct "
        "mistral.voxtral-mini-3b-2507 mistral.voxtral-small-24b-2507",
    ),
    (
        "Qwen",
        "chat",
        (),
        True,
        "qwen.qwen3-32b-v1:0 qwen.qwen3-235b-a22b-2507-v1:0 qwen.qwen3-coder-30b-a3b-v1:0 "
        "qwen.qwen3-coder-480b-a35b-v1:0 qwen.qwen3-coder-next qwen.qwen3-next-80b-a3b qwen.qwen3-vl-235b-a22b",
    ),
    ("Google", "chat", (), True, "google.gemma-3-4b-it google.gemma-3-12b-it google.gemma-3-27b-it"),
    ("MiniMax", "chat", (), True, "minimax.minimax-m2 minimax.minimax-m2.1 minimax.minimax-m2.5"),
    ("DeepSeek", "chat", ("us", "eu"), True, "deepseek.v3.2"),
    ("Moonshot AI", "chat", (), True, "moonshot.kimi-k2-thinking moonshotai.kimi-k2-thinking moonshotai.kimi-k2.5"),
    ("Moonshot AI", "chat", ("us", "global"), True, "moonshotai.kimi-k3"),
    ("NVIDIA", "chat", (), True, "nvidia.nemotron-nano-9b-v2 nvidia.nemotron-nano-12b-v2 nvidia.nemotron-nano-3-30b"),
    ("NVIDIA", "chat", (), True, "nvidia.nemotron-super-3-120b"),
    ("Writer", "chat", ("us",), True, "writer.palmyra-x4-v1:0 writer.palmyra-x5-v1:0 writer.palmyra-vision-7b"),
    ("xAI", "chat", ("us", "global"), False, "xai.grok-4.6 xai.grok-4.7"),
    ("Z.AI", "chat", (), True, "zai.glm-4.7 zai.glm-4.7-flash zai.glm-5"),
    ("Z.AI", "chat", ("us", "global"), False, "zai.glm-5.3"),
    ("Amazon", "nova", ("us", "eu", "apac"), False, "amazon.nova-2-pro-preview-20251202-v1:0"),
)
_STABILITY_EDITS = (
    "conservative-upscale creative-upscale fast-upscale image-control-sketch image-control-structure "
    "image-erase-object image-inpaint image-remove-background image-search-recolor image-search-replace "
    "image-style-guide outpaint style-transfer"
)


def _newer_models() -> Iterator[FoundationModel]:
    """Models that differ from another one only in their names."""
    for provider, dialect, profiles, on_demand, identifiers in _NEWER:
        inputs = ("TEXT", "IMAGE") if dialect == "claude" else ("TEXT",)
        for identifier in identifiers.split():
            name = identifier.partition(".")[2].partition("-v1:0")[0].replace("-", " ").title()
            yield FoundationModel(identifier, name, provider, dialect, inputs, profiles=profiles, on_demand=on_demand)
    for edit in _STABILITY_EDITS.split():
        yield FoundationModel(
            f"stability.stable-{edit}-v1:0",
            f"Stable {edit.replace('-', ' ').title()}",
            "Stability AI",
            "sd3",
            ("TEXT", "IMAGE"),
            "IMAGE",
            streams=False,
            profiles=("us",),
        )


MODELS = {model.id: model for model in _models()}


def find_model(model_id: str) -> FoundationModel | None:
    """The model of an id, a profile id or an ARN; None if only the body identifies it (any ARN is accepted)."""
    if model_id.startswith("arn:"):
        return _inside_arn(model_id)
    if model_id in MODELS:
        model = MODELS[model_id]
        if not model.on_demand:
            raise invalid(
                f"Invocation of model ID {model_id} with on-demand throughput isn\u2019t supported. Retry your request "
                "with the ID or ARN of an inference profile that contains this model."
            )
        return model
    prefix, _, base = model_id.partition(".")
    if prefix in _PREFIXES and base in MODELS:
        return MODELS[base]
    raise invalid("The provided model identifier is invalid.")


def _inside_arn(arn: str) -> FoundationModel | None:
    parts = arn.split(":", 5)
    if len(parts) < 6 or parts[2] not in ("bedrock", "sagemaker"):
        raise invalid("The provided model identifier is invalid.")
    resource = parts[5]
    found = [model for model in MODELS.values() if model.id in resource]
    return max(found, key=lambda model: len(model.id), default=None)


def answer_catalog(exchange: Exchange) -> None:
    """Answer the two lists and their items."""
    region = exchange.region or _DEFAULT_REGION
    match exchange.segments:
        case ["foundation-models"]:
            exchange.send_json(200, {"modelSummaries": _list_models(exchange.query, region)})
        case ["foundation-models", *rest] if model := MODELS.get("/".join(rest).rsplit("foundation-model/", 1)[-1]):
            exchange.send_json(200, {"modelDetails": model.summary(region)})
        case ["inference-profiles"]:
            kind = exchange.query.get("type", "SYSTEM_DEFINED")
            profiles = [profile for profile in _profiles(region) if profile["type"] == kind]
            exchange.send_json(200, _page(profiles, exchange.query))
        case ["inference-profiles", *rest] if profile := _profile("/".join(rest), region):
            exchange.send_json(200, profile)
        case ["foundation-models", *_]:
            refuse(exchange, invalid("The provided model identifier is invalid."))
        case _:
            refuse(exchange, Refusal(404, "ResourceNotFoundException", "The inference profile doesn't exist."))


def _list_models(query: dict[str, str], region: str) -> list[dict[str, Any]]:
    def wanted(summary: dict[str, Any]) -> bool:
        return (
            query.get("byProvider", summary["providerName"]).lower() == summary["providerName"].lower()
            and query.get("byOutputModality", summary["outputModalities"][0]) in summary["outputModalities"]
            and ("byInferenceType" not in query or query["byInferenceType"] in summary["inferenceTypesSupported"])
            and (
                "byCustomizationType" not in query or query["byCustomizationType"] in summary["customizationsSupported"]
            )
        )

    return [summary for model in MODELS.values() if wanted(summary := model.summary(region))]


def _page(profiles: list[dict[str, Any]], query: dict[str, str]) -> dict[str, Any]:
    start, size = int(query.get("nextToken", 0)), int(query.get("maxResults", len(profiles) or 1))
    page: dict[str, Any] = {"inferenceProfileSummaries": profiles[start : start + size]}
    if start + size < len(profiles):
        page["nextToken"] = str(start + size)
    return page


def _profiles(region: str) -> Iterator[dict[str, Any]]:
    for model in MODELS.values():
        for prefix in model.profiles:
            yield _describe(model, prefix, region)


def _profile(identifier: str, region: str) -> dict[str, Any] | None:
    profile_id = identifier.rsplit("inference-profile/", 1)[-1]
    if ":application-inference-profile/" in identifier:
        return _application_profile(identifier, region)
    return next((found for found in _profiles(region) if found["inferenceProfileId"] == profile_id), None)


def _describe(model: FoundationModel, prefix: str, region: str) -> dict[str, Any]:
    profile_id = f"{prefix}.{model.id}"
    return {
        "inferenceProfileName": f"{prefix.upper()} {model.provider} {model.name}",
        "description": f"Routes requests to {model.name} in {prefix} regions.",
        "createdAt": "2025-01-01T00:00:00Z",
        "updatedAt": "2025-01-01T00:00:00Z",
        "inferenceProfileArn": f"arn:aws:bedrock:{region}:{_ACCOUNT}:inference-profile/{profile_id}",
        "models": [{"modelArn": f"arn:aws:bedrock:{where}::foundation-model/{model.id}"} for where in _REGIONS[prefix]],
        "inferenceProfileId": profile_id,
        "status": "ACTIVE",
        "type": "SYSTEM_DEFINED",
    }


def _application_profile(arn: str, region: str) -> dict[str, Any]:
    """Every application profile exists here; its name may contain its model's id, else it is a small model."""
    model = _inside_arn(arn) or MODELS["amazon.nova-micro-v1:0"]
    name = arn.rsplit("/", 1)[-1]
    return {
        **_describe(model, "us", region),
        "inferenceProfileName": name,
        "inferenceProfileArn": arn,
        "models": [{"modelArn": f"arn:aws:bedrock:{region}::foundation-model/{model.id}"}],
        "inferenceProfileId": name,
        "type": "APPLICATION",
    }
