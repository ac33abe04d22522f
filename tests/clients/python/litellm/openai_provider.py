"""litellm with `openai/…` and a base URL."""

from any_provider import play_with
from protocol import URL

play_with(lambda cell: {"model": f"openai/{cell.model}", "api_base": f"{URL}/v1", "api_key": cell.key})
