"""LangChain, unchanged: ChatOpenAI with a base URL, or ChatBedrockConverse with an endpoint."""

import os

from langchain_aws import ChatBedrockConverse
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI

URL, KEY = os.environ["GATEWAY_URL"], os.environ["GATEWAY_KEY"]
MODEL = "us.anthropic.claude-haiku-4-5-20251001-v1:0"

openai = ChatOpenAI(model=MODEL, base_url=f"{URL}/v1", api_key=KEY, stream_usage=True)
bedrock = ChatBedrockConverse(
    model=MODEL,
    base_url=URL,
    region_name="us-east-1",
    # Any signature will do with the key beside it. Over https, api_key=KEY alone is enough.
    aws_access_key_id="anybody",
    aws_secret_access_key="anything",
    default_headers={"x-api-key": KEY},
)


@tool
def get_weather(city: str) -> str:
    """What the weather in a city is."""
    return f"Sunny in {city}."


for chat in (openai, bedrock):
    answer = chat.invoke("What is a ledger?")
    print("answer:", answer.text)
    print("usage:", answer.usage_metadata["input_tokens"], "tokens in,", answer.usage_metadata["output_tokens"], "out")
    print("stream: ", end="")
    for part in chat.stream("What is a ledger?"):
        print(part.text, end="", flush=True)
    call = chat.bind_tools([get_weather]).invoke("What is the weather in 'Oslo'?").tool_calls[0]
    print("\ntool:", call["name"], "says", get_weather.invoke(call["args"]))
