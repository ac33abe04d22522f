"""instructor on OpenAI's client, in its default mode."""

import instructor
from any_client import play_with
from protocol import URL

play_with(
    lambda cell: instructor.from_provider(
        f"openai/{cell.model}", base_url=f"{URL}/v1", api_key=cell.key, async_client=True
    )
)
