"""The task type `http_request`: it calls a target over HTTP, for work in any other language.

    payload     what a client may ask for, and every check on it, with statuses and faults
    urls        which URLs may be asked for; the next one of a redirect
    addresses   which addresses may be connected to
    network     connections: only to addresses that were checked, within the attempt's time
    client      the connections of one process, kept between tasks
    exchange    one request and its answer, redirects included
    body        an answer's body: read up to a limit, decoded, and told as JSON, text or base64
    answer      the result of a task, made of an answer
    verdict     what an answer means: done, try again (when), or never
    signing     the headers that we add, and their signature
    redaction   what must not come back: which headers are secret, and their traces in an answer
    handler     the task type itself

What these promise to users stands in docs/http-request.md, and why in docs/decisions/
0009-http-request-safety.md.
"""

from app.handlers.http_request.handler import http_request

__all__ = ["http_request"]
