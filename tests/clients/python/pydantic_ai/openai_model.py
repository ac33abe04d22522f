"""pydantic-ai with its model for `openai:…`: the Responses API."""

from any_model import play_with
from protocol import URL
from pydantic_ai.models.openai import OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider

play_with(
    lambda cell: OpenAIResponsesModel(cell.model, provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=cell.key))
)
