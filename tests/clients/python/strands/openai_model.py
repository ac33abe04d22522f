"""strands-agents with its OpenAI model: Chat Completions."""

from both import play_with
from protocol import URL
from strands.models.openai import OpenAIModel

play_with(lambda cell: OpenAIModel(client_args={"base_url": f"{URL}/v1", "api_key": cell.key}, model_id=cell.model))
