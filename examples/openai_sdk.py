"""OpenAI's SDK, unchanged: a base URL that ends in /v1, and the tenant's key. Any model of Bedrock answers."""

import os

from openai import OpenAI

MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"  # or any other of client.models.list()
client = OpenAI(base_url=f"{os.environ['GATEWAY_URL']}/v1", api_key=os.environ["GATEWAY_KEY"])
messages = [{"role": "user", "content": "What is a ledger?"}]

answer = client.chat.completions.create(model=MODEL, messages=messages, max_completion_tokens=100)
print("answer:", answer.choices[0].message.content)
print("usage:", answer.usage.prompt_tokens, "tokens in,", answer.usage.completion_tokens, "out")

# Ask for the usage of a stream: it comes in the last chunk, which has no choices.
print("stream: ", end="")
for chunk in client.chat.completions.create(
    model=MODEL, messages=messages, stream=True, stream_options={"include_usage": True}
):
    for choice in chunk.choices:
        print(choice.delta.content or "", end="", flush=True)
    if chunk.usage:
        print("\nusage:", chunk.usage.total_tokens, "tokens")

response = client.responses.create(model=MODEL, input="And a journal?", store=False)
print("response:", response.output_text)

vectors = client.embeddings.create(model="amazon.titan-embed-text-v2:0", input=["debit", "credit"])
print("vectors:", len(vectors.data), "of", len(vectors.data[0].embedding), "numbers")
