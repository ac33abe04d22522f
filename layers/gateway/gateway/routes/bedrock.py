"""Bedrock's own operations, for boto3 and every other SDK of AWS: bytes pass through wherever they can."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.calls.call import ModelAnswer, ModelCall
from gateway.calls.streaming import open_stream
from gateway.core.errors import GatewayError
from gateway.formats import bedrock
from gateway.routes.service import AuthorizedRequest, ModelService, must_not_repeat, problem_reply
from gateway.web.exchange import Dialect, PendingReply, Reply, Request, StreamedReply
from gateway.web.warnings import warned


class BedrockRoutes:
    def __init__(self, service: ModelService):
        self._service = service

    def converse(self, request: Request, model_id: str) -> PendingReply:
        authorized = self._service.authorize(request, model_id, claim=bedrock.claim_of_converse(request.json))
        return self._reply(
            authorized, [bedrock.read_converse(m, request.json, streaming=False) for m in authorized.models]
        )

    def converse_stream(self, request: Request, model_id: str) -> PendingReply:
        authorized = self._service.authorize(request, model_id, claim=bedrock.claim_of_converse(request.json))
        return self._stream(
            authorized, [bedrock.read_converse(m, request.json, streaming=True) for m in authorized.models]
        )

    def invoke(self, request: Request, model_id: str) -> PendingReply:
        authorized, calls = self._invocation(request, model_id, streaming=False)
        return self._reply(authorized, calls)

    def invoke_with_response_stream(self, request: Request, model_id: str) -> PendingReply:
        authorized, calls = self._invocation(request, model_id, streaming=True)
        return self._stream(authorized, calls)

    def count_tokens(self, request: Request, model_id: str) -> Reply:
        authorized = self._service.authorize(request, model_id, charged=False)
        return Reply(
            self._service.count(authorized, bedrock.read_count_tokens(authorized.models[0], request.json)).content
        )

    def foundation_models(self, request: Request) -> Reply:
        may_use = self._service.may_use
        chosen = bedrock.model_filter(request.query)
        found = self._service.listing().summaries()
        models = [model for model in found if chosen(model) and may_use(request, model["modelId"])]
        return Reply({"modelSummaries": models})

    def inference_profiles(self, request: Request) -> Reply:
        page, tenant, found = bedrock.ProfilePage.read(request.query), request.caller.tenant, []
        for profile in self._service.listing().profiles():
            application = profile.get("type") == "APPLICATION"
            if (
                tenant.allows_arn(profile["inferenceProfileArn"])
                if application
                else self._service.may_use(request, profile["inferenceProfileId"])
            ):
                found.append(profile)
        return Reply(page.of(found))

    # ------------------------------------------------------------------------------------------------------------------
    def _invocation(
        self, request: Request, model_id: str, *, streaming: bool
    ) -> tuple[AuthorizedRequest, list[ModelCall]]:
        claim = bedrock.claim_of_invoke(request.json, request.headers)
        authorized = self._service.authorize(request, model_id, None, claim=claim)
        calls = [bedrock.read_invoke(m, request.json, request.headers, streaming=streaming) for m in authorized.models]
        if calls[0].operation.startswith("embeddings"):
            calls = calls[:1]  # vectors of two models do not compare
        for operation in {call.operation for call in calls}:
            request.caller.tenant.must_allow_operation(operation)
        return authorized, calls

    def _reply(self, authorized: AuthorizedRequest, calls: Sequence[ModelCall]) -> PendingReply:
        def write(call: ModelCall, answer: ModelAnswer) -> Reply:
            content_type = answer.headers.get("content-type", "application/json")
            headers = bedrock.passed_on(answer.headers) | warned(call.warnings)
            return Reply(answer.content, headers=headers, content_type=content_type)

        return self._service.reply(authorized, calls, write)

    def _stream(self, authorized: AuthorizedRequest, calls: Sequence[ModelCall]) -> PendingReply:
        """Opened before its status is sent, so that a refusal has its own, but for one that comes late."""
        must_not_repeat(authorized.request)
        writer = bedrock.EventStream(converses=calls[0].api == "ConverseStream")

        def make() -> StreamedReply:
            live = open_stream(calls, authorized.attempts, self._service.streams)
            headers, abort = bedrock.passed_on(live.opened.headers), live.opened.abort
            headers |= warned([*live.call.warnings, *authorized.warnings])
            return StreamedReply(live.deliver(writer), writer.content_type, writer.ping, writer.error, abort, headers)

        known = warned(authorized.warnings)
        return PendingReply(make, known, content_type=writer.content_type, ping=writer.ping, error=writer.error)


def problem(error: GatewayError, request_id: str) -> Reply:
    status, body, headers = bedrock.problem(error, request_id)
    return problem_reply(body, error, headers, status)


DIALECT = Dialect(problem, bedrock.misfit)
