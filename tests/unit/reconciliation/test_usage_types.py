"""Each usage type of AWS's bill maps to a unit of the ledger, or is reported as unknown."""

from __future__ import annotations

import pytest

from gateway.pricing.model_names import split_profile
from gateway.pricing.price_csv import price_book
from gateway.reconciliation.bill_usage_types import (
    Kind,
    _plain,
    billed_model,
    billed_tier,
    kind_of,
    model_named,
    names,
    units_per,
)
from scripts.operate.price_offers import _KIND

SONNET = "Claude Sonnet 4.6 (Amazon Bedrock Edition)"
SONNET_ID = "anthropic.claude-sonnet-4-6"


@pytest.mark.parametrize(
    ("usage_type", "product", "kind"),
    [
        ("USE1-NovaLite-input-tokens", "", Kind("amazon.nova-lite-v1:0", "us-east-1", "default", "input_tokens")),
        ("EU-NovaLite-output-tokens-flex", "", Kind("amazon.nova-lite-v1:0", "eu-west-1", "flex", "output_tokens")),
        (
            "APN2-Nova2.0Lite-output-tokens-cross-region-jp",
            "",
            Kind("amazon.nova-2-lite-v1:0", "ap-northeast-2", "default", "output_tokens"),
        ),
        (
            "USE1-Claude4.6Sonnet-cache-read-input-token-count-cross-region-global",
            "",
            Kind(f"global.{SONNET_ID}", "us-east-1", "default", "cache_read_tokens"),
        ),
        (
            "USW2-Claude4.6Sonnet-cache-write-input-token-count",
            "",
            Kind(SONNET_ID, "us-west-2", "default", "cache_write_5m_tokens"),
        ),
        (
            "USE1-anthropic.claude-opus-5-mantle-output-tokens-global-standard",
            "",
            Kind("global.anthropic.claude-opus-5", "us-east-1", "default", "output_tokens"),
        ),
        ("USE1-MP:USE1_InputTokenCount-Units", SONNET, Kind(SONNET_ID, "us-east-1", "default", "input_tokens")),
        (
            "USE1-MP:USE1_CacheWrite1hInputTokenCount_Global-Units",
            SONNET,
            Kind(f"global.{SONNET_ID}", "us-east-1", "default", "cache_write_1h_tokens"),
        ),
        ("USE1-MP:USE1_OutputTokenCount_Batch-Units", SONNET, Kind(SONNET_ID, "us-east-1", "batch", "output_tokens")),
        (
            "USE1-MP:USE1_cache_write_tokens_1h_global_standard-Units",
            SONNET,
            Kind(f"global.{SONNET_ID}", "us-east-1", "default", "cache_write_1h_tokens"),
        ),
        (
            "USE1-MP:USE1_created_image_stable_image_core-Units",
            "Stable Image Core (Amazon Bedrock Edition)",
            Kind("stability.stable-image-core-v1:1", "us-east-1", "default", "image"),
        ),
    ],
)
def test_a_usage_type_is_a_model_a_region_a_tier_and_a_unit(usage_type: str, product: str, kind: Kind) -> None:
    assert kind_of(usage_type, product) == kind


@pytest.mark.parametrize(
    ("usage_type", "product"),
    [
        ("USE1-NovaLite-input-tokens-custom-model", ""),
        ("USE1-NovaPro-Customization-Training", ""),
        ("USE1-Guardrail-ContentPolicyUnitsConsumed", ""),
        ("USE1-MP:USE1_Reserved_1Month_InputTPM_Geo-Units", SONNET),
        ("USE1-MP:USE1_InputTokenCount-Units", "A Model Nobody Knows (Amazon Bedrock Edition)"),
        ("XXX9-NovaLite-input-tokens", ""),
        ("USE1-NovaLite-input-audio-tokens", ""),
        ("BoxUsage:t3.micro", ""),
    ],
)
def test_what_is_not_known_for_sure_is_unmapped_never_guessed(usage_type: str, product: str) -> None:
    assert kind_of(usage_type, product) is None


def test_the_region_of_the_bill_stands_before_that_of_the_name() -> None:
    kind = kind_of("XXX9-NovaLite-input-tokens", "", "eu-north-1")
    assert kind is not None
    assert kind.region == "eu-north-1"


def test_every_model_of_the_table_is_one_that_the_price_book_knows() -> None:
    priced = {split_profile(price.model_id)[1] for price in price_book().prices()}
    assert set(names()["models"].values()) - priced == set()


def test_no_two_names_of_the_table_are_one_name_of_two_models() -> None:
    """Blanks, dots and dashes are no difference: "Claude 3.5 Haiku" is "Claude3-5Haiku"."""
    ids: dict[str, set[str]] = {}
    for name, model_id in names()["models"].items():
        ids.setdefault(_plain(name), set()).add(model_id)
    assert {name: models for name, models in ids.items() if len(models) > 1} == {}


@pytest.mark.parametrize("name", sorted(names()["models"]))
def test_every_name_that_the_price_tool_knows_is_one_that_the_bill_may_use(name: str) -> None:
    """In a usage type, where it is spelt so, and as a product of the marketplace."""
    model_id = names()["models"][name]
    assert model_named(name) == model_id
    product = kind_of("USE1-MP:USE1_InputTokenCount-Units", f"{name} (Amazon Bedrock Edition)")
    assert product == Kind(model_id, "us-east-1", "default", "input_tokens")
    if " " not in name:
        usage_type = f"USW2-{name}-input-tokens-batch"
        assert kind_of(usage_type) == Kind(model_id, "us-west-2", "batch", "input_tokens")
        assert _KIND.split(usage_type.removeprefix("USW2-"), maxsplit=1) == [name, "input-tokens-batch"]


@pytest.mark.parametrize(
    ("usage_type", "product", "model_id", "unit"),
    [
        ("EU-TitanEmbeddingV2-Text-input-tokens", "", "amazon.titan-embed-text-v2:0", "input_tokens"),
        ("USE1-TitanEmbeddingsG1-Text-input-tokens", "", "amazon.titan-embed-text-v1", "input_tokens"),
        ("USE1-TitanEmbeddingsG1-Image-input-image", "", "amazon.titan-embed-image-v1", "input_image"),
        ("EU-Mistral7B-output-tokens", "", "mistral.mistral-7b-instruct-v0:2", "output_tokens"),
        ("USE1-Llama4-Scout-17B-input-tokens", "", "meta.llama4-scout-17b-instruct-v1:0", "input_tokens"),
        ("USE1-Gemma-3-27B-IT-output-tokens-flex", "", "google.gemma-3-27b-it", "output_tokens"),
        ("USE1-GPT-OSS-120B-input-tokens", "", "openai.gpt-oss-120b-1:0", "input_tokens"),
        ("USE1-MP:USE1_InputTokenCount-Units", "Claude Fable 5.2 (Amazon Bedrock Edition)", "anthropic.claude-fable-5-2",
         "input_tokens"),
        ("EUW2-MP:EUW2_InputTokenCount-Units", "Cohere Embed 4 (Amazon Bedrock Edition)", "cohere.embed-v4:0",
         "input_tokens"),
        ("USE1-xai.grok-4.7-mantle-output-tokens-standard", "", "xai.grok-4.7", "output_tokens"),
    ],
)  # fmt: skip
def test_what_the_bill_calls_them(usage_type: str, product: str, model_id: str, unit: str) -> None:
    kind = kind_of(usage_type, product)
    assert kind
    assert (kind.model_id, kind.unit) == (model_id, unit)


def test_a_geographic_profile_is_billed_as_its_model_and_a_global_one_is_not() -> None:
    assert billed_model(f"us.{SONNET_ID}") == billed_model(f"jp.{SONNET_ID}") == SONNET_ID
    assert billed_model(f"global.{SONNET_ID}") == f"global.{SONNET_ID}"
    assert billed_model("deepseek.v3.2") == "deepseek.v3.2"
    assert billed_tier("default_above_200k") == billed_tier("") == "default"


@pytest.mark.parametrize(
    ("said", "usage_type", "unit", "each"),
    [
        ("1K tokens", "USE1-NovaLite-input-tokens", "input_tokens", 1_000),
        ("1M tokens", "USE1-NovaLite-input-tokens", "input_tokens", 1_000_000),
        ("Units", "USE1-MP:USE1_InputTokenCount-Units", "input_tokens", 1_000_000),
        ("", "USE1-NovaLite-input-tokens", "input_tokens", 1_000),
        ("", "USE1-MP:USE1_InputTokenCount-Units", "input_tokens", 1_000_000),
        ("Units", "USE1-NovaLite-input-tokens", "input_tokens", None),
        ("furlong", "USE1-NovaLite-input-tokens", "input_tokens", None),
        ("Image", "USE1-MP:USE1_created_image_stable_image_core-Units", "image", 1),
    ],
)
def test_a_billed_unit_is_so_many_tokens(said: str, usage_type: str, unit: str, each: int | None) -> None:
    assert units_per(said, usage_type, unit) == each
