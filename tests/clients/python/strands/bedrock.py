"""strands-agents with its default model: Amazon Bedrock, by an API key."""

from both import play_with
from protocol import TLS_URL
from strands.models import BedrockModel

play_with(
    lambda cell: BedrockModel(endpoint_url=TLS_URL, api_key=cell.key, region_name="us-east-1", model_id=cell.model)
)
