"""Anthropic's SDK, unchanged: the gateway's URL as its base URL, and the tenant's key."""

import os

from anthropic import Anthropic

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
client = Anthropic(base_url=os.environ["GATEWAY_URL"], api_key=os.environ["GATEWAY_KEY"])
# Code written for AnthropicBedrock works too: AnthropicBedrock(base_url=…, api_key=…), with the same models.
messages = [{"role": "user", "content": "What is a ledger?"}]

count = client.messages.count_tokens(model=MODEL, messages=messages)  # free
print("count:", count.input_tokens, "tokens in")

answer = client.messages.create(model=MODEL, messages=messages, max_tokens=100)
print("answer:", answer.content[0].text)
print("usage:", answer.usage.input_tokens, "tokens in,", answer.usage.output_tokens, "out")

print("stream: ", end="")
with client.messages.stream(model=MODEL, messages=messages, max_tokens=100) as stream:
    for text in stream.text_stream:
        print(text, end="", flush=True)
    usage = stream.get_final_message().usage
print("\nusage:", usage.input_tokens, "tokens in,", usage.output_tokens, "out")
