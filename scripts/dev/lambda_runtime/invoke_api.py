"""Lambda's Invoke over HTTP, for the embedded AWS and for tools."""

from __future__ import annotations

import json
import threading
from urllib.parse import unquote

from scripts.dev.http_server import Request, Response
from scripts.dev.lambda_runtime.pool import FunctionHost


def invoke_by_name(functions: FunctionHost, request: Request) -> Response:
    prefix, _, rest = request.path.partition("/functions/")
    name, _, action = rest.partition("/")
    if request.method != "POST" or prefix != "/2015-03-31" or action != "invocations":
        return Response(404, b'{"Type":"User","Message":"No such operation"}', [("Content-Type", "application/json")])
    name = unquote(name).removesuffix(":$LATEST")
    if name not in functions.pools:
        problem = json.dumps({"Type": "User", "Message": f"Function not found: {name}"}).encode()
        return Response(404, problem, [("x-amzn-ErrorType", "ResourceNotFoundException")])
    try:
        event = json.loads(request.body or b"{}")
    except ValueError:
        problem = b'{"Type":"User","Message":"Could not parse request body into json"}'
        return Response(400, problem, [("x-amzn-ErrorType", "InvalidRequestContentException")])
    if (request.header("x-amz-invocation-type") or "") == "Event":
        threading.Thread(target=functions.invoke, args=(name, event), daemon=True).start()
        return Response(202)
    outcome = functions.invoke(name, event)
    headers = [("Content-Type", "application/json"), ("X-Amz-Executed-Version", "$LATEST")]
    if outcome.failed:
        headers.append(("X-Amz-Function-Error", "Unhandled"))
    return Response(200, outcome.payload, headers)
