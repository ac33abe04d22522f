"""litellm with `anthropic/…` and a base URL."""

from any_provider import play_with
from protocol import URL

play_with(lambda cell: {"model": f"anthropic/{cell.model}", "api_base": URL, "api_key": cell.key})
