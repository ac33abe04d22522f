"""pydantic-ai with its model for `anthropic:…`."""

from any_model import play_with
from protocol import URL
from pydantic_ai.models.anthropic import AnthropicModel
from pydantic_ai.providers.anthropic import AnthropicProvider

play_with(lambda cell: AnthropicModel(cell.model, provider=AnthropicProvider(base_url=URL, api_key=cell.key)))
