"""Routes a path to its service, on the local stack's own strict and bounded HTTP server."""

import logging
import time
import traceback
from pathlib import Path
from types import TracebackType

from scripts.dev.fake_models.bedrock import Bedrock
from scripts.dev.fake_models.catalog import answer_catalog
from scripts.dev.fake_models.errors import Refusal
from scripts.dev.fake_models.exchange import Exchange, refuse
from scripts.dev.fake_models.generation import DeterministicModel, Model
from scripts.dev.fake_models.ledger import Ledger
from scripts.dev.fake_models.sagemaker import SageMaker
from scripts.dev.fake_models.upstream_openai import OpenAIUpstream
from scripts.dev.http_server import ClientGone, HttpServer, Reply, Request

logger = logging.getLogger(__name__)


class FakeModels:
    """The stand-in as a context manager: it listens on `url` inside the `with`, and `ledger` has the served calls."""

    def __init__(
        self,
        port: int = 0,
        ledger: Path | str | None = None,
        *,
        host: str = "127.0.0.1",
        upstream: str | None = None,
        upstream_model: str | None = None,
    ) -> None:
        self.ledger = Ledger(ledger)
        model: Model = OpenAIUpstream(upstream, upstream_model) if upstream else DeterministicModel()
        self._bedrock = Bedrock(self.ledger, model)
        self._sagemaker = SageMaker(self.ledger, model)

        self._server = HttpServer(host, port)
        self.port, self.url = self._server.port, self._server.url
        self._started = time.monotonic()

    def start(self) -> "FakeModels":
        """Begin to answer."""
        self._server.serve(self._served)
        return self

    def stop(self) -> None:
        """Close the port and every connection; all ledger lines were written before."""
        self._server.stop(0)
        self._server.hang_up()
        self.ledger.close()

    def __enter__(self) -> "FakeModels":
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _served(self, request: Request, reply: Reply) -> None:
        exchange = Exchange(request, reply)
        try:
            self.answer(exchange)
        except ClientGone:
            raise
        except Exception:
            # A fault of the stand-in must not look like a model error that a test expects.
            logger.exception("model stand-in failed on %s %s", exchange.method, exchange.path)
            if exchange.answered:
                exchange.cut()
            else:
                exchange.send(599, traceback.format_exc().encode(), {"Content-Type": "text/plain"})

    def answer(self, exchange: Exchange) -> None:
        """Route a path to its service."""
        match exchange.method, exchange.segments:
            case "POST", ["model", model_id, operation]:
                self._bedrock.answer(exchange, model_id, operation)
            case "POST", ["endpoints", endpoint, operation]:
                self._sagemaker.answer(exchange, endpoint, operation)
            case "GET", ["foundation-models" | "inference-profiles", *_]:
                answer_catalog(exchange)
            case "GET", ["_ledger"]:
                exchange.send_json(200, {"records": self.ledger.after(int(exchange.query.get("after", 0)))})
            case "GET", ["_ledger", "summary"]:
                exchange.send_json(200, {"models": self.ledger.summary()})
            case "DELETE", ["_ledger"]:
                self.ledger.clear()
                exchange.send_json(200, {"records": []})
            case "GET", ["_health"]:
                exchange.send_json(200, {"status": "ok", "seconds": int(time.monotonic() - self._started)})
            case _:
                refuse(exchange, Refusal(404, "UnknownOperationException", f"No operation at {exchange.path}"))
