"""The client that `make client` generates from openapi.yaml, as the wheel in build/clients/python/dist."""

import json
import os

from model_gateway_client import AuthenticatedClient
from model_gateway_client.api.models import invoke_model
from model_gateway_client.api.usage import quote_invocation, report_usage
from model_gateway_client.models import InvokeModelRequest, InvokeModelRequestParameters, Problem

MODEL = "anthropic.claude-3-haiku-20240307-v1:0"
client = AuthenticatedClient(base_url=os.environ["GATEWAY_URL"], token=os.environ["GATEWAY_KEY"])
body = InvokeModelRequest("What is a ledger?", InvokeModelRequestParameters.from_dict({"max_tokens": 100}))

# What would it cost at most, and does it fit into the budget? This calls no model.
quote = quote_invocation.sync(client=client, body=body, model_id=MODEL)
print("quote:", quote.most_usd, "USD at most,", "fits" if quote.fits else quote.message)

answer = invoke_model.sync(client=client, body=body, model_id=MODEL)
if isinstance(answer, Problem):  # not an exception: every status has its type
    raise SystemExit(f"{answer.code}: {answer.message}")
print("answer:", answer[0].generated_text)

# Generated functions wait for the whole body; a stream is read with the client beneath them.
print("stream: ", end="")
asking = {"params": {"model_id": MODEL}, "json": body.to_dict()}
with client.get_httpx_client().stream("POST", "/stream_model", **asking) as stream:
    for line in stream.iter_lines():
        event = json.loads(line[6:]) if line.startswith("data: {") else {}
        print(event.get("delta", ""), end="", flush=True)

totals = report_usage.sync(client=client).totals
print("\nusage:", totals.invocations, "calls today,", totals.output_tokens, "tokens out,", totals.cost, "USD")
