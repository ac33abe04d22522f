"""instructor on Anthropic's client, in its default mode."""

import instructor
from anthropic import AsyncAnthropic
from any_client import play_with
from protocol import URL

play_with(
    lambda cell: instructor.from_anthropic(
        AsyncAnthropic(base_url=URL, api_key=cell.key), model=cell.model, max_tokens=500
    )
)
