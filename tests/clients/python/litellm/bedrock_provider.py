"""litellm with `bedrock/converse/…`, an endpoint and an API key."""

from any_provider import play_with
from protocol import URL, Cell


def model(cell: Cell) -> dict[str, str]:
    at = {"aws_bedrock_runtime_endpoint": URL, "aws_region_name": "us-east-1"}
    return {"model": f"bedrock/converse/{cell.model}", "api_key": cell.key, **at}


play_with(model)
