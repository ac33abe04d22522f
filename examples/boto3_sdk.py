"""boto3's bedrock-runtime, unchanged: the gateway as its endpoint, and the tenant's key as Bedrock's bearer token."""

import os

import boto3

URL, KEY = os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"

if URL.startswith("https:"):
    # The local stack makes its own certificate: `make dev` prints the AWS_CA_BUNDLE that trusts it.
    os.environ["AWS_BEARER_TOKEN_BEDROCK"] = KEY
    bedrock = boto3.client("bedrock-runtime", endpoint_url=URL, region_name="us-east-1")
else:
    # Over http boto3 sends no bearer token. The local stack and a public API take the key beside any signature;
    # a private API refuses each that is not made for it.
    anybody = {"aws_access_key_id": "anybody", "aws_secret_access_key": "anything"}
    bedrock = boto3.client("bedrock-runtime", endpoint_url=URL, region_name="us-east-1", **anybody)
    bedrock.meta.events.register("before-sign", lambda request, **_: request.headers.add_header("x-api-key", KEY))

asking = {
    "modelId": MODEL,
    "messages": [{"role": "user", "content": [{"text": "What is a ledger?"}]}],
    "inferenceConfig": {"maxTokens": 100},
}
answer = bedrock.converse(**asking)
print("answer:", answer["output"]["message"]["content"][0]["text"])
print("usage:", answer["usage"]["inputTokens"], "tokens in,", answer["usage"]["outputTokens"], "out")

print("stream: ", end="")
for event in bedrock.converse_stream(**asking)["stream"]:
    if "contentBlockDelta" in event:
        print(event["contentBlockDelta"]["delta"]["text"], end="", flush=True)
    if "metadata" in event:
        print("\nusage:", event["metadata"]["usage"]["totalTokens"], "tokens")
