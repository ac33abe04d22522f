"""An HTTP server with bounded cost: HTTP/1.1 by h11 and HTTP/2 by h2, plain or over TLS, with unchanged headers.

WSGI would fold `team_id` and `Team-Id` into one name; API Gateway passes a header on as the client wrote it. A call
through the stack passes four of these servers, so each must cost a fraction of a millisecond.

    server       listens, admits connections, passes requests to handlers, stops
    connections  their limit, and the one thread that waits for all silent ones
    transport    the bytes of one connection, plain or TLS
    http1, http2 one conversation each: requests from bytes, and bytes from replies
    messages     a request, a response, a problem
"""

from scripts.dev.http_server.connections import Connections, Limits, descriptors
from scripts.dev.http_server.messages import Answer, ClientGone, Handler, Reply, Request, Response
from scripts.dev.http_server.server import HttpServer

__all__ = [
    "Answer",
    "ClientGone",
    "Connections",
    "Handler",
    "HttpServer",
    "Limits",
    "Reply",
    "Request",
    "Response",
    "descriptors",
]
