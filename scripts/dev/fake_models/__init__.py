"""A stand-in for the models behind Bedrock and SageMaker with their wire formats and its own ledger.

That ledger proves the gateway's bill: bodies, headers, stream metrics and ledger lines share one count.

    python -m scripts.dev.fake_models --port 9100 --ledger served.jsonl
"""

from scripts.dev.fake_models.server import FakeModels

__all__ = ["FakeModels"]
