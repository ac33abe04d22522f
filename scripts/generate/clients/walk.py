"""A walk through the API with the generated Python client; prints its results as JSON."""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from model_gateway_client import AuthenticatedClient
from model_gateway_client.api.models import invoke_model, list_foundation_models, stream_model
from model_gateway_client.api.openai import create_chat_completion
from model_gateway_client.api.usage import quote_invocation, report_usage
from model_gateway_client.models import (
    ChatCompletionRequest,
    ChatMessage,
    ChatMessageRole,
    InvokeModelRequest,
    InvokeModelRequestParameters,
)

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
client = AuthenticatedClient(base_url=os.environ["GATEWAY_URL"], token=os.environ["GATEWAY_KEY"])


def deltas(stream: str) -> list[Any]:
    events = [json.loads(line[6:]) for line in stream.splitlines() if line.startswith("data: {")]
    return [event["delta"] for event in events if "delta" in event]


body = InvokeModelRequest("What is a ledger?", InvokeModelRequestParameters.from_dict({"max_tokens": 50}))
asking = ChatMessage(ChatMessageRole.USER, "What is a ledger?")
models = list_foundation_models.sync(client=client)
answer = invoke_model.sync(client=client, body=body, model_id=MODEL)
stream = stream_model.sync(client=client, body=body, model_id=MODEL)
chat = create_chat_completion.sync(client=client, body=ChatCompletionRequest(MODEL, [asking]))
quote = quote_invocation.sync(client=client, body=body, model_id=MODEL)
usage = report_usage.sync(client=client)
problem = invoke_model.sync(client=client, body=InvokeModelRequest("Hello"))
met = {
    "models": len(models[0].model_summaries),
    "answer": answer[0].generated_text,
    "stream": "".join(deltas(stream)),
    "chat": [chat.choices[0].message.content, chat.choices[0].finish_reason, chat.usage.total_tokens],
    "quote": [quote.fits, quote.most_usd],
    "usage": [usage.totals.invocations, usage.totals.cost],
    "problem": problem.code,
}
json.dump(met, sys.stdout)
