"""An HTTP server of bounded cost: HTTP/1.1 by h11 and HTTP/2 by h2, over TLS or not, headers exactly as they were sent.

WSGI would fold `team_id` and `Team-Id` into one name; API Gateway hands a header on as the client wrote it. And a call
through the stack passes four of these, so each must cost a fraction of a millisecond.

    server       listens, admits connections, hands requests to whoever answers them, stops
    connections  how many there may be, and the one thread that waits for all that are silent
    transport    the bytes of one connection, plain or TLS
    http1, http2 one conversation each: requests out of bytes, and bytes out of replies
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
