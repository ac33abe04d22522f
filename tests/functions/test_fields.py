"""Each documented field of each format, through the real door: what becomes of it is what docs/compatibility.md says."""

from __future__ import annotations

import json
from typing import Any

import pytest

from scripts.dev.model_stand_in import ModelStandIn
from scripts.fields import FORMATS, MODELS, PAGE, Format, body_of, outcome, page

from .test_stream_model import ask


@pytest.fixture
def app(streaming: Any) -> Any:
    return streaming


@pytest.mark.parametrize("form", FORMATS, ids=lambda form: form.name)
def test_a_field_becomes_what_the_page_says(app: Any, models: ModelStandIn, form: Format) -> None:
    for field in form.fields:
        for model in MODELS:
            expected, said = outcome(form, field, model)
            status, body, headers = ask(app, form.path.format(model=model), body_of(form, field, model))
            if expected == "refused":
                assert (status, said in json.loads(body)["message"]) == (400, True), (field, model, body)
                continue
            assert status == 200, (field, model, body)
            assert headers.get("x-gateway-warning", "") == said, (field, model)
    assert models.ledger.after()


def test_the_page_is_made_of_what_the_gateway_does() -> None:
    assert PAGE.read_text(encoding="utf-8") == "\n".join(page()) + "\n", "run `make generate`"
