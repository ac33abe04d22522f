"""pydantic-ai with its model for `openai-chat:…`: Chat Completions."""

from any_model import play_with
from protocol import URL
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

play_with(lambda cell: OpenAIChatModel(cell.model, provider=OpenAIProvider(base_url=f"{URL}/v1", api_key=cell.key)))
