"""The calls of the 2024 gateway, as they were: call a model, submit and poll, embed; and the same body as a stream."""

import json
import os
import time

import requests

URL, KEY = os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]
CLAUDE = {"model_id": "anthropic.claude-3-haiku-20240307-v1:0"}
BODY = {"inputs": "What is a ledger?", "parameters": {"max_tokens": 100}}

gateway = requests.Session()
gateway.headers["x-api-key"] = KEY

# Call a model, and wait for its answer.
answer = gateway.post(f"{URL}/invoke_model", params=CLAUDE, json=BODY)
answer.raise_for_status()  # 400, 401, 403, 429 …: the body says which code, and what to do
print("answer:", answer.json()[0]["generated_text"])

# Submit it, and poll: for calls that take longer than 29 seconds.
submitted = gateway.post(f"{URL}/invoke_model", params=CLAUDE, json=BODY, headers={"streaming": "true"}).json()
poll = {"requestId": submitted[0]["request_id"]}
while "request_id" in (polled := gateway.post(f"{URL}/invoke_model", params=poll, json={}).json()[0]):
    time.sleep(0.2)
print("polled:", polled["generated_text"])

# One vector for each text.
titan = {"model_id": "amazon.titan-embed-text-v1"}
vectors = gateway.post(
    f"{URL}/invoke_model", params=titan, json={"inputs": ["debit", "credit"]}, headers={"type": "embeddings"}
).json()[0]["embeddings"]
print("vectors:", len(vectors), "of", len(vectors[0]), "numbers")

# The same body to /stream_model: the text while the model speaks, then what it used and what it cost.
print("stream: ", end="")
with gateway.post(f"{URL}/stream_model", params=CLAUDE, json=BODY, stream=True) as stream:
    for line in stream.iter_lines():
        event = json.loads(line[6:]) if line.startswith(b"data: {") else {}
        print(event.get("delta", ""), end="", flush=True)
        if "usage" in event:
            print("\nusage:", event["usage"]["output_tokens"], "tokens out,", event["cost"], "USD")
