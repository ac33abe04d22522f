"""What AWS's bill names is what the ledger counts, or it is said to be unknown."""

from __future__ import annotations

import pytest

from gateway.pricing import price_book
from gateway.usage_types import Kind, _names, billed_model, billed_tier, kind_of, units_per

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


def test_every_curated_model_is_one_that_the_price_book_knows() -> None:
    priced = {price.model_id for price in price_book().prices()}
    assert set(_names()["models"].values()) - priced == set()


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
