"""pydantic-ai with its model for `bedrock:…`: Converse, by an API key."""

from any_model import play_with
from protocol import TLS_URL, Cell
from pydantic_ai.models.bedrock import BedrockConverseModel
from pydantic_ai.providers.bedrock import BedrockProvider


def model(cell: Cell) -> BedrockConverseModel:
    provider = BedrockProvider(base_url=TLS_URL, api_key=cell.key, region_name="us-east-1")
    return BedrockConverseModel(cell.model, provider=provider)


play_with(model)
