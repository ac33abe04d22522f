"""The exactness table: for every kind of call and every break, the ledger equals the models' own record.

    complete, cache write, cache read,      `succeeded`    every bucket, the tier and the money of the service's own
    geo profile, long context, tier                        ledger, to the last digit
    the client hangs up after 5 chunks,     `succeeded`    the same: the service is read to its end all the same
    or before the first
    the connection to the service is cut,   `interrupted`  what the service had told by then, and nothing else:
    an error event in mid-stream,                            Claude's own stream   its input and cache, one token made
    the time is up                                           Titan's, Llama's      the prompt, Llama's answer so far
                                                             all others            `unknown`: listed, never guessed
                                                           the client reads an error of its own format, then the end
    refused before the first event          `failed`       nothing; the client gets a status and Retry-After
    tried again, or answered by another     each try is a row that says what was asked, what was used and why

No row stays open. The test computes the expected cost from price_book.csv and the service's counts alone.
"""

from __future__ import annotations

import csv
import http.client
import json
import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from decimal import Decimal
from importlib import resources
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import boto3
import pytest
import requests
from botocore.eventstream import EventStreamBuffer

from scripts.dev.stack import LocalStack
from scripts.operate.costs import aggregate

from .test_every_cent import usage_rows
from .test_old_tenants import PNG

Json = dict[str, Any]

BUCKETS = ("input_tokens", "output_tokens", "cache_read_tokens", "cache_write_5m_tokens", "cache_write_1h_tokens")
CLAUDE, CLAUDE_US, CLAUDE_ALL = (
    "anthropic.claude-3-5-sonnet-20241022-v2:0",
    "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
)
NOVA, NOVA_US = "amazon.nova-pro-v1:0", "us.amazon.nova-pro-v1:0"
LLAMA, LLAMA_US = "meta.llama3-8b-instruct-v1:0", "us.meta.llama3-3-70b-instruct-v1:0"
OSS, GPT, GPT_US = "openai.gpt-oss-20b-1:0", "openai.gpt-6-luna", "us.openai.gpt-6-luna"
QWEN = "qwen.qwen3-32b-v1:0"
PREFIX = "What stays the same from call to call. " * 30


# ------------------------------------------------------------------------------------------------- what a call is like
@dataclass(frozen=True)
class Ask:
    """One call's request, independent of its surface's format."""

    model: str
    text: str
    cache: str = ""  # the time to live of its prefix in the prompt cache: `5m` or `1h`
    tier: str = ""
    prefix: str = ""


@dataclass(frozen=True)
class Sent:
    path: str
    body: Any
    headers: dict[str, str] = field(default_factory=dict)


def mark(ask: Ask) -> Json:
    """Anthropic's `cache_control`, which the gateway reads in OpenAI's formats as well."""
    return {"cache_control": {"type": "ephemeral", "ttl": ask.cache}}


def converse_blocks(ask: Ask) -> list[Json]:
    point = {"type": "default"} if ask.cache == "5m" else {"type": "default", "ttl": ask.cache}
    cached: list[Json] = [{"text": ask.prefix}, {"cachePoint": point}] if ask.cache else []
    return [*cached, {"text": ask.text}]


def parts(ask: Ask, kind: str = "text") -> list[Json]:
    cached = [{"type": kind, "text": ask.prefix, **mark(ask)}] if ask.cache else []
    return [*cached, {"type": kind, "text": ask.text}]


def compat(path: str, *, converse: bool = False, submit: bool = False, **parameters: Any) -> Callable[[Ask], Sent]:
    def sent(ask: Ask) -> Sent:
        inputs: Any = ask.text
        if converse:
            inputs = [{"role": "user", "content": converse_blocks(ask)}]
        elif "anthropic.claude-" in ask.model:
            inputs = [{"role": "user", "content": parts(ask)}]
        headers = {"messages_api": "true"} if converse else {}
        headers |= {"streaming": "true"} if submit else {}
        return Sent(
            f"{path}?{urlencode({'model_id': ask.model})}", {"inputs": inputs, "parameters": parameters}, headers
        )

    return sent


def chat(stream: bool) -> Callable[[Ask], Sent]:
    def sent(ask: Ask) -> Sent:
        body: Json = {"model": ask.model, "messages": [{"role": "user", "content": parts(ask)}], "stream": stream}
        body |= {"stream_options": {"include_usage": True}} if stream else {}
        return Sent("/v1/chat/completions", body | ({"service_tier": ask.tier} if ask.tier else {}))

    return sent


def responses(stream: bool) -> Callable[[Ask], Sent]:
    def sent(ask: Ask) -> Sent:
        said = [{"role": "user", "content": parts(ask, "input_text")}]
        tier = {"service_tier": ask.tier} if ask.tier else {}
        return Sent("/v1/responses", {"model": ask.model, "input": said, "stream": stream, **tier})

    return sent


def messages(stream: bool) -> Callable[[Ask], Sent]:
    def sent(ask: Ask) -> Sent:
        said = [{"role": "user", "content": parts(ask)}]
        tier = {"service_tier": ask.tier} if ask.tier else {}
        body = {"model": ask.model, "max_tokens": 500, "messages": said, "stream": stream, **tier}
        return Sent("/v1/messages", body, {"anthropic-version": "2023-06-01"})

    return sent


def embeddings(ask: Ask) -> Sent:
    return Sent("/v1/embeddings", {"model": ask.model, "input": [ask.text, ask.text + " and another"]})


def bedrock(operation: str, body: Callable[[Ask], Json]) -> Callable[[Ask], Sent]:
    def sent(ask: Ask) -> Sent:
        headers = {"X-Amzn-Bedrock-Service-Tier": ask.tier} if ask.tier and operation.startswith("invoke") else {}
        return Sent(f"/model/{quote(ask.model, safe='')}/{operation}", body(ask), headers)

    return sent


def converse_body(ask: Ask) -> Json:
    tier = {"serviceTier": {"type": ask.tier}} if ask.tier else {}
    return {"messages": [{"role": "user", "content": converse_blocks(ask)}], **tier}


BODIES: dict[str, Callable[[Ask], Json]] = {
    "claude": lambda ask: {"anthropic_version": "bedrock-2023-05-31", "max_tokens": 500,
                           "messages": [{"role": "user", "content": parts(ask)}]},
    "nova": lambda ask: {"messages": [{"role": "user", "content": converse_blocks(ask)}]},
    "llama": lambda ask: {"prompt": ask.text},
    "titan": lambda ask: {"inputText": ask.text},
    "mistral": lambda ask: {"prompt": ask.text},
    "cohere": lambda ask: {"prompt": ask.text},
    "cohere r": lambda ask: {"message": ask.text},
    "chat": lambda ask: {"messages": [{"role": "user", "content": ask.text}]},
}  # fmt: skip


def picture(ask: Ask) -> Json:
    config = {"numberOfImages": 2, "width": 512, "height": 512, "quality": "premium"}
    return {"taskType": "TEXT_IMAGE", "textToImageParams": {"text": ask.text}, "imageGenerationConfig": config}


def diffusion(ask: Ask) -> Json:
    return {"text_prompts": [{"text": ask.text}], "width": 1024, "height": 1024, "steps": 60}


@dataclass(frozen=True)
class Surface:
    """One way to call a model: how it asks, which models answer there in which cases, how it says that a stream broke.

    A case whose model is not named is not one of this surface. `told` says what its stream tells before the last
    event: `start` what was read, `so far` all as it comes, nothing where it is empty.
    """

    name: str
    request: Callable[[Ask], Sent]
    model: str
    geo: str = ""
    long: str = ""
    tiered: str = ""
    caches: str = ""  # the model that caches; for one hour as well where it is Claude's
    streams: bool = False
    error: str = ""
    told: str = ""
    submits: bool = False
    makes_vectors_or_images: bool = False


_CONVERSES: Any = {"model": NOVA, "geo": NOVA_US, "long": CLAUDE_US, "tiered": NOVA, "caches": CLAUDE_US}
_CLAUDES: Any = {"model": CLAUDE, "geo": CLAUDE_US, "long": CLAUDE_ALL, "caches": CLAUDE_US}
_SSE_ERROR, _CHAT_ERROR, _FRAME_ERROR = r"event: error\ndata: ", r'data: \{"error": ', r":exception-type"
_FAMILIES = {
    "claude": {**_CLAUDES, "tiered": CLAUDE_US, "told": "start"},
    "nova": {"model": NOVA, "geo": NOVA_US, "tiered": NOVA, "caches": NOVA},
    "llama": {"model": LLAMA, "geo": LLAMA_US, "told": "so far"},
    "titan": {"model": "amazon.titan-text-express-v1", "told": "start"},
    "mistral": {"model": "mistral.mistral-7b-instruct-v0:2"},
    "cohere": {"model": "cohere.command-text-v14"},
    "cohere r": {"model": "cohere.command-r-v1:0"},
    "chat": {"model": OSS, "geo": GPT_US, "long": GPT, "tiered": QWEN},
    "jamba": {"model": "ai21.jamba-1-5-mini-v1:0"},
}


def _surfaces() -> Iterator[Surface]:
    for submits in (False, True):
        how = "submitted" if submits else "at once"
        yield Surface(
            f"compat {how}", compat("/invoke_model", submit=submits, max_tokens=500), **_CLAUDES, submits=submits
        )
        yield Surface(
            f"compat converse {how}", compat("/invoke_model", converse=True, submit=submits),
            **{**_CONVERSES, "tiered": ""}, submits=submits,
        )  # fmt: skip
        yield Surface(f"compat endpoint {how}", compat("/invoke_model", submit=submits), "endpoint", submits=submits)
    yield Surface("compat jurassic", compat("/invoke_model"), "ai21.j2-mid-v1")
    for family, said in (*_FAMILIES.items(), ("converse", {**_CONVERSES, "tiered": ""}), ("endpoint", None)):
        made = compat("/stream_model", converse=family == "converse")
        chosen: Any = {**said, "tiered": ""} if said else {"model": "endpoint"}
        if family == "nova":  # asked by a text alone, which marks nothing to cache
            chosen |= {"caches": ""}
        yield Surface(f"stream_model {family}", made, **chosen, streams=True, error=_SSE_ERROR)
    for streams in (False, True):
        how = "stream" if streams else "at once"
        yield Surface(f"chat {how}", chat(streams), **_CONVERSES, streams=streams, error=_CHAT_ERROR)
        yield Surface(f"responses {how}", responses(streams), **_CONVERSES, streams=streams, error=_SSE_ERROR)
        yield Surface(
            f"messages native {how}", messages(streams), **_FAMILIES["claude"], streams=streams, error=_SSE_ERROR
        )
        yield Surface(
            f"messages translated {how}", messages(streams), **{**_CONVERSES, "long": GPT, "caches": NOVA},
            streams=streams, error=_SSE_ERROR,
        )  # fmt: skip
        operation = "converse-stream" if streams else "converse"
        yield Surface(operation, bedrock(operation, converse_body), **_CONVERSES, streams=streams, error=_FRAME_ERROR)
        operation = "invoke-with-response-stream" if streams else "invoke"
        for family, said in _FAMILIES.items():
            made = bedrock(operation, BODIES.get(family, BODIES["chat"]))
            yield Surface(f"{operation} {family}", made, **said, streams=streams, error=_FRAME_ERROR)
    other: Any = {"makes_vectors_or_images": True}
    yield Surface("embeddings titan", embeddings, "amazon.titan-embed-text-v2:0", **other)
    yield Surface("embeddings cohere", embeddings, "cohere.embed-v4:0", geo="us.cohere.embed-v4:0", **other)
    yield Surface("invoke picture", bedrock("invoke", picture), "amazon.titan-image-generator-v1", **other)
    yield Surface("invoke diffusion", bedrock("invoke", diffusion), "stability.stable-diffusion-xl-v1", **other)
    shown = bedrock("invoke", lambda ask: {"inputText": ask.text, "inputImage": PNG})
    yield Surface("invoke picture embedding", shown, "amazon.titan-embed-image-v1", **other)


SURFACES = tuple(_surfaces())


# ------------------------------------------------------------------------------------------------------------ the cells
@dataclass(frozen=True)
class Cell:
    """One surface in one case, with its calls in order."""

    surface: Surface
    case: str
    asks: tuple[Ask, ...]
    known_by: int = 0  # the input that its model is told to count, where no answer brings a request id

    def __str__(self) -> str:
        return f"{self.surface.name}: {self.case}"


def wishing(**counts: int) -> str:
    return f"[[usage={json.dumps(counts)}]]"


SPEAKS = "[[chunks=12]] [[chunk_delay=0.02]]"
BROKEN = {"cut": "[[cut=3]]", "error event": "[[streamerror=3]]", "throttle event": "[[streamthrottle=3]]"}
REFUSED = {"throttle", "throttle event first"}
WHOLE = {
    "complete",
    "cache 5m",
    "cache 1h",
    "all counts",
    "geo profile",
    "long context",
    "flex",
    "priority",
    "hang-up",
    "hang-up early",
}


def _whole(surface: Surface) -> Iterator[tuple[str, list[Ask]]]:
    """The cases in which nothing breaks."""
    yield "complete", [Ask(surface.model, "What is a ledger? [[chunks=7]]")]
    if surface.caches:
        for ttl in ("5m", "1h") if "claude" in surface.caches else ("5m",):
            yield f"cache {ttl}", [Ask(surface.caches, f"{number}?", cache=ttl) for number in ("First", "Second")]
        text = wishing(input_tokens=7, cache_read_tokens=11, cache_write_5m_tokens=13, output_tokens=17)
        yield "all counts", [Ask(surface.caches, text, cache="5m")]
    if "chat" in surface.name and surface.long == GPT:
        counts = wishing(input_tokens=7, cache_read_tokens=11, cache_write_5m_tokens=13, output_tokens=17)
        yield "all counts", [Ask(GPT, counts)]
    if surface.geo:
        yield "geo profile", [Ask(surface.geo, "Where is it?")]
    if surface.long:
        threshold = 272_000 if surface.long == GPT else 200_000
        texts = [wishing(input_tokens=threshold, cache_read_tokens=more, output_tokens=9) for more in (0, 1)]
        yield "long context", [Ask(surface.long, text) for text in texts]
    if surface.tiered:
        for tier in ("flex", "priority"):
            yield tier, [Ask(surface.tiered, "At what price?", tier=tier)]


def _cells() -> Iterator[Cell]:
    for number, surface in enumerate(SURFACES):
        cases = list(_whole(surface))
        text = not surface.makes_vectors_or_images
        if surface.streams:
            cases += [(case, [Ask(surface.model, f"{SPEAKS} {wish}")]) for case, wish in BROKEN.items()]
            cases.append(("hang-up", [Ask(surface.model, SPEAKS)]))
        elif text:
            cases.append(("cut", [Ask(surface.model, "[[cut=0]]")]))
        if text and not surface.submits:
            counts = "" if surface.model == "endpoint" else wishing(input_tokens=90_000 + number)
            cases.append(("hang-up early", [Ask(surface.model, f"[[delay=0.4]] {counts}")]))
        if surface.streams and surface.model != "endpoint":
            cases.append(("throttle event first", [Ask(surface.model, "[[streamthrottle=0]]")]))
        cases.append(("throttle", [Ask(surface.model, "[[throttle]]")]))
        for case, asks in cases:
            about = f"{surface.name}, {case}: "
            named = [
                replace(ask, text=about + ask.text, prefix=about + PREFIX, model=endpoint(ask.model, number, case))
                for ask in asks
            ]
            yield Cell(surface, case, tuple(named), 90_000 + number if case == "hang-up early" else 0)


def endpoint(model: str, number: int, case: str) -> str:
    """SageMaker is not told whose call it is, so that each cell has an endpoint of its own."""
    return f"endpoint-{number}-{case.replace(' ', '-')}" if model == "endpoint" else model


CELLS = tuple(_cells())
ENDPOINTS = {ask.model: ask.model for cell in CELLS for ask in cell.asks if ask.model.startswith("endpoint")}
ROUTES = {"fast": {"model": CLAUDE, "fallbacks": [NOVA], "retries": 1}}
_ROUTED = ("compat at once", "compat submitted", "stream_model claude", "chat", "responses", "messages native", "converse",
           "invoke claude")  # fmt: skip
ROUTED = [surface for surface in SURFACES if surface.name.startswith(_ROUTED)]


# ------------------------------------------------------------------------------------------------------------- the play
@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes = b""

    @property
    def request_id(self) -> str:
        return self.headers["x-amzn-requestid"]


@dataclass
class Played:
    """The results of all cells: their responses, the rows of the priced ledger, and the service's own lines."""

    answers: dict[Cell, list[Answer]]
    rows: list[Json]
    lines: list[Json]

    def of(self, cell: Cell) -> tuple[list[Json], list[Json]]:
        """The rows and the lines of a cell, in the order of its calls."""
        models = {ask.model for ask in cell.asks}
        if cell.asks[0].model.startswith("endpoint"):
            ids = {row["request_id"] for row in self.rows if row["model_id"] in models}
            lines = [line for line in self.lines if line["model_id"] in models]
        else:
            found = [line for line in self.lines if cell.known_by and line["input_tokens"] == cell.known_by]
            ids = {line["request_metadata"]["request_id"] for line in found}
            ids |= {answer.request_id for answer in self.answers[cell] if answer.status}
            lines = [line for line in self.lines if (line["request_metadata"] or {}).get("request_id") in ids]
        rows = [row for row in self.rows if row["request_id"] in ids]
        rows.sort(key=lambda row: (row["started_at"], row["attempt"]))
        return rows, sorted(lines, key=lambda line: int(line["seq"]))


class Client:
    def __init__(self, stack: LocalStack):
        self._at = urlsplit(stack.url)
        tenant = stack.tenants[0]
        self._headers = {
            "authorization": f"Bearer {tenant['key']}", "x-api-key": tenant["key"],
            "team_id": tenant["cost_centres"][0], "content-type": "application/json",
        }  # fmt: skip

    def play(self, cell: Cell) -> list[Answer]:
        if cell.case.startswith("hang-up"):
            return [self.hang_up(cell, ask) for ask in cell.asks]
        return [self.ask(cell.surface, ask) for ask in cell.asks]

    def ask(self, surface: Surface, ask: Ask) -> Answer:
        answer = self.post(surface.request(ask))
        return self._polled(answer) if surface.submits else answer

    def post(self, sent: Sent) -> Answer:
        connection = self._connect(sent)
        with connection.getresponse() as response:
            headers = {name.lower(): text for name, text in response.getheaders()}
            try:
                answer = Answer(response.status, headers, response.read())
            except http.client.IncompleteRead as error:
                raise AssertionError(f"the stream of {sent.path} has no end: {error.partial!r}") from error
        connection.close()
        return answer

    def hang_up(self, cell: Cell, ask: Ask) -> Answer:
        connection = self._connect(cell.surface.request(ask))
        if cell.case == "hang-up early":
            time.sleep(0.2)
            connection.close()
            return Answer(0, {})
        response = connection.getresponse()
        headers = {name.lower(): text for name, text in response.getheaders()}
        read = b"".join(response.read1(1 << 16) for _ in range(5))
        response.close()
        connection.close()
        return Answer(response.status, headers, read)

    def _connect(self, sent: Sent) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self._at.hostname or "", self._at.port, timeout=60)
        connection.request("POST", sent.path, json.dumps(sent.body), self._headers | sent.headers)
        return connection

    def _polled(self, submitted: Answer) -> Answer:
        assert submitted.status == 200, submitted.body
        for _ in range(300):
            polled = self.post(Sent(f"/invoke_model?requestId={submitted.request_id}", {}))
            if polled.status != 200 or "generated_text" in json.loads(polled.body)[0]:
                return Answer(polled.status, {**polled.headers, "x-amzn-requestid": submitted.request_id}, polled.body)
            time.sleep(0.1)
        raise AssertionError("the submitted call never ended")


def settled(stack: LocalStack) -> tuple[list[Json], list[Json]]:
    """The priced ledger once nothing is open any more, and the service's own."""
    table = stack.client("dynamodb")
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        pages = table.get_paginator("scan").paginate(TableName=stack.info["tables"]["UsageTable"])
        if not [item for page in pages for item in page["Items"] if item.get("outcome") == {"S": "open"}]:
            break
        time.sleep(0.1)
    aggregate(stack, datetime.now(UTC), alone=False)
    lines: list[Json] = requests.get(f"{stack.model_stand_in_url}/_ledger", timeout=30).json()["records"]
    return usage_rows(stack.lake), lines


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalStack]:
    """A stack with more endpoints than a parameter can have, so an S3 object has them."""
    environment = {"GATEWAY_PARAM_ModelRoutesUri": "s3://routes/exact.json"}
    with LocalStack(tmp_path_factory.mktemp("exact"), environment=environment) as running:
        session = boto3.Session("local", "local", region_name="us-east-1")
        s3 = session.client("s3", endpoint_url=running.aws_endpoint)
        s3.create_bucket(Bucket="routes")
        said = json.dumps({"endpoints": ENDPOINTS, "routes": ROUTES})
        s3.put_object(Bucket="routes", Key="exact.json", Body=said)
        yield running


@pytest.fixture(scope="module")
def played(stack: LocalStack) -> Played:
    client = Client(stack)
    with ThreadPoolExecutor(12) as pool:
        answers = dict(zip(CELLS, pool.map(client.play, CELLS), strict=True))
    return Played(answers, *settled(stack))


# -------------------------------------------------------------------------------------------------------- what it costs
def _book() -> dict[tuple[str, str], dict[str, tuple[str, Decimal]]]:
    """(model, tier) -> unit -> the newest price of one, in us-east-1."""
    book: dict[tuple[str, str], dict[str, tuple[str, Decimal]]] = {}
    today = f"{datetime.now(UTC):%Y-%m-%d}"
    for row in csv.DictReader(resources.files("gateway.pricing").joinpath("price_book.csv").read_text().splitlines()):
        if row["region"] == "us-east-1" and row["effective_from"] <= today:
            units = book.setdefault((row["model_id"], row["tier"]), {})
            price = row["effective_from"], Decimal(row["usd"]) / Decimal(row["per"])
            units[row["unit"]] = max(units.get(row["unit"], price), price)
    return book


BOOK = _book()


def money(model: str, line: Json) -> Decimal | None:
    """The cost of a line of the service's ledger; None if a part of it has no price."""
    read = sum(line[name] for name in BUCKETS if name != "output_tokens")
    tier = line["service_tier"]
    for thousands in (272, 200, 128, 100):
        if read > thousands * 1000 and (model, f"{tier}_above_{thousands}k") in BOOK:
            tier = f"{tier}_above_{thousands}k"
            break
    units = BOOK.get((model, tier), {})
    cost = Decimal(0)
    for name, used in parts_of(line).items():
        price = units.get(name) or units.get(name.partition(":")[0])
        if used and price is None:
            return None
        cost += price[1] * used if price and used else 0
    return cost


def parts_of(line: Json) -> Json:
    """The billed parts of a line: image models are paid per image only."""
    if line["images"]:
        return {f"image:{line['image_class']}": line["images"]}
    embeds = line["operation"] == "InvokeModel" and "embed" in line["model_id"]
    return {name: line[name] for name in BUCKETS} | ({"input_image": line["input_images"]} if embeds else {})


def counts(record: Json) -> Json:
    """The common fields of a row and a line."""
    made = {name: 0 for name in BUCKETS if record["images"]}
    return {name: record[name] for name in (*BUCKETS, "images", "service_tier")} | made


# ------------------------------------------------------------------------------------------------------------- the table
@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.case in WHOLE], ids=str)
def test_every_bucket_and_every_cent_is_the_services_own(cell: Cell, played: Played) -> None:
    rows, lines = played.of(cell)
    assert all(answer.status in (0, 200) for answer in played.answers[cell]), played.answers[cell]
    assert len(lines) >= len(cell.asks)
    assert [counts(row) for row in rows] == [counts(line) for line in lines]
    assert {row["outcome"] for row in rows} == {"succeeded"}
    estimated = cell.surface.model == "endpoint" and not cell.surface.streams
    assert {row["usage_source"] for row in rows} == {"estimated:utf8_bytes/4" if estimated else "provider"}
    assert all(line["completed"] for line in lines)
    assert [row["cost"] for row in rows] == [
        money(row["model_id"], line) for row, line in zip(rows, lines, strict=True)
    ]


def test_the_table_has_what_it_is_named_for(played: Played) -> None:
    """Else a cell that silently stopped to cache, or to be long, would still agree with itself."""
    for cell in CELLS:
        rows, _ = played.of(cell)
        if cell.case.startswith("cache"):
            kind = f"cache_write_{cell.case[-2:]}_tokens"
            assert [bool(row[kind]) for row in rows] == [True, False], cell
            assert [bool(row["cache_read_tokens"]) for row in rows] == [False, True], cell
        if cell.case == "long context":
            assert ["_above_" in (row["price_rows"] or "") for row in rows] == [False, True], cell
        if cell.case in ("flex", "priority"):
            assert {row["service_tier"] for row in rows} == {cell.case}, cell
        if cell.case in ("complete", "geo profile", "long context") and "endpoint" not in cell.asks[0].model:
            assert all(row["cost"] for row in rows), cell


def told(cell: Cell, line: Json, answer: Answer) -> Json:
    """The counts that the service had sent before its stream broke."""
    known = dict.fromkeys((*BUCKETS, "images"), 0)
    if cell.surface.told == "start":
        known |= {name: line[name] for name in BUCKETS if name != "output_tokens"}
        known |= {"output_tokens": 1 if "claude" in cell.surface.model else 0}
    if cell.surface.told == "so far":
        known |= {"input_tokens": line["input_tokens"], "output_tokens": 3}
    return known | {"service_tier": "default"}


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.case in BROKEN], ids=str)
def test_what_breaks_off_costs_what_the_service_had_told(cell: Cell, played: Played) -> None:
    (row,), (line,) = played.of(cell)
    (answer,) = played.answers[cell]
    known = told(cell, line, answer) if cell.surface.streams else dict.fromkeys(BUCKETS, 0)
    assert {name: row[name] for name in known} == known
    assert row["outcome"] == "interrupted"
    if any(known[name] for name in BUCKETS):
        assert (row["usage_source"], row["cost"]) == ("provider", money(row["model_id"], {**line, **known}))
    else:
        assert (row["usage_source"], row["price_status"], row["cost"]) == ("unknown", "unsettled", None)
    if cell.surface.streams:
        assert answer.status == 200
        _assert_ends_with_an_error(cell.surface, answer.body)
    else:
        assert (answer.status, answer.headers.get("retry-after")) == (503, "1")


def _assert_ends_with_an_error(surface: Surface, body: bytes) -> None:
    if surface.error == _FRAME_ERROR:
        reader = EventStreamBuffer()
        reader.add_data(body)
        *begun, last = list(reader)
        assert begun
        assert ":exception-type" in last.headers
        return
    *begun, last, rest = body.decode().split("\n\n")
    assert begun
    assert re.match(surface.error, last), last
    assert rest == ""


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell.case in REFUSED], ids=str)
def test_a_throttle_before_the_first_event_is_a_429_that_costs_nothing(cell: Cell, played: Played) -> None:
    rows, lines = played.of(cell)
    (answer,) = played.answers[cell]
    assert answer.status == 429, answer
    assert int(answer.headers["retry-after"]) >= 1
    assert [(row["outcome"], row["cost"], row["error_code"]) for row in rows] == [("failed", 0, "model_throttled")]
    assert [line["billed"] for line in lines] == [False]


def test_no_row_stays_open_and_no_call_is_without_one(played: Played) -> None:
    assert {row["outcome"] for row in played.rows} == {"succeeded", "failed", "interrupted"}
    models = [line for line in played.lines if line["operation"] != "ListFoundationModels"]
    assert len(played.rows) == len(models)


# ------------------------------------------------------------------------------------------------ another try, in vain
@pytest.fixture(scope="module")
def routed(stack: LocalStack, played: Played) -> tuple[dict[str, list[Answer]], Played]:
    """Each surface calls a routed model twice: after one refusal it is retried, after two it is replaced."""
    client = Client(stack)

    def play(surface: Surface) -> list[Answer]:
        asks = [Ask("fast", f"[[throttle_times={n}:{surface.name.replace(' ', '-')}-{n}]]") for n in (1, 2)]
        return [client.ask(surface, ask) for ask in (asks[:1] if "invoke" in surface.name else asks)]

    with ThreadPoolExecutor(len(ROUTED)) as pool:
        answers = dict(zip((s.name for s in ROUTED), pool.map(play, ROUTED), strict=True))
    return answers, Played({}, *settled(stack))


@pytest.mark.parametrize("name", [surface.name for surface in ROUTED])
def test_each_try_is_a_row_that_says_what_was_asked_what_was_used_and_why(
    name: str, routed: tuple[dict[str, list[Answer]], Played]
) -> None:
    answers, now = routed
    expected = [(CLAUDE, "failed", ""), (CLAUDE, "succeeded", "retry:model_throttled")]
    replaced = [(CLAUDE, "failed", ""), (CLAUDE, "failed", "retry:model_throttled"),
                (NOVA, "succeeded", "fallback:model_throttled")]  # fmt: skip
    for answer, tries in zip(answers[name], (expected, replaced), strict=False):
        assert answer.status == 200
        rows = sorted((r for r in now.rows if r["request_id"] == answer.request_id), key=lambda row: row["attempt"])
        assert [(row["model_id"], row["outcome"], row["routing"]) for row in rows] == tries
        assert {row["asked_model"] for row in rows} == {"fast"}
        lines = [n for n in now.lines if (n["request_metadata"] or {}).get("request_id") == answer.request_id]
        assert [line["model_id"] for line in lines] == [model for model, _, _ in tries]
        assert [counts(row) for row in rows[-1:]] == [counts(line) for line in lines[-1:]]
        assert [row["cost"] for row in rows] == [Decimal(0)] * (len(tries) - 1) + [money(tries[-1][0], lines[-1])]


# ---------------------------------------------------------------------------------------------------- the time is up
IN_TIME = 12  # seconds that a call may take; its function breaks off 5 seconds before, or after 2 silent ones


@pytest.fixture(scope="module")
def late(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """Calls that outlast their functions: the streams are slow, the others silent."""
    times = {f"GATEWAY_PARAM_{name}TimeoutSeconds": str(IN_TIME) for name in ("Stream", "Invocation")}
    environment = {"GATEWAY_PARAM_SageMakerEndpoints": json.dumps({"endpoint-late": "endpoint-late"}), **times}
    with LocalStack(tmp_path_factory.mktemp("late"), environment=environment) as stack:
        client = Client(stack)
        with ThreadPoolExecutor(len(LATE)) as pool:
            answers = dict(zip(LATE, pool.map(client.play, LATE), strict=True))
        yield Played(answers, *settled(stack))


def _late() -> Iterator[Cell]:
    for surface in SURFACES:
        if surface.streams and (surface.name == "stream_model claude" or "stream_model" not in surface.name):
            model = surface.model.replace("endpoint", "endpoint-late")
            yield Cell(surface, "slow", (Ask(model, f"{surface.name} [[chunks=20]] [[chunk_delay=0.8]]"),))
            yield Cell(surface, "silent", (Ask(model, f"{surface.name} [[delay=6]]"),))
        elif surface.name.startswith(
            ("compat at once", "compat submitted", "invoke claude", "converse", "embeddings t")
        ):
            yield Cell(surface, "silent", (Ask(surface.model, f"{surface.name} [[delay=6]]"),))


LATE = tuple(_late())


@pytest.mark.parametrize("cell", LATE, ids=str)
def test_when_the_time_is_up_what_was_told_is_settled_in_time(cell: Cell, late: Played) -> None:
    rows, _ = late.of(cell)
    (row,), (answer,) = rows, late.answers[cell]
    assert (row["outcome"], row["error_code"]) == ("interrupted", "model_timeout")
    assert (row["settled_at"] - row["started_at"]).total_seconds() < IN_TIME - 2
    if cell.case == "silent":
        assert (answer.status, row["usage_source"]) == (408, "unknown")
        return
    assert answer.status == 200
    _assert_ends_with_an_error(cell.surface, answer.body)
    assert row["usage_source"] == ("provider" if cell.surface.told else "unknown")
    assert bool(row["input_tokens"]) == bool(cell.surface.told)
    assert bool(row["output_tokens"]) == ("claude" in cell.surface.model or cell.surface.told == "so far")
