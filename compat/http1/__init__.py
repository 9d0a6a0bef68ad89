"""HTTP/1.1 towards executors for the dispatcher's hot path: no task and no coroutine per call.

A `Call` goes in with its bytes ready; its `on_done` comes back with an `Outcome` that says exactly
what is known about the request: answered, certainly never sent, or doubtful. Nothing is ever sent
twice. Everything off the hot path uses aiohttp; docs/decisions/0001-http-client.md has the figures.
"""

from compat.http1.answer import Answer, AnswerReader, BadAnswerError
from compat.http1.connection import Call, Outcome
from compat.http1.pool import ConnectionPool, PoolStats
from compat.http1.request import Origin, PreparedBody, request_bytes, request_head, split_address

__all__ = [
    "Answer",
    "AnswerReader",
    "BadAnswerError",
    "Call",
    "ConnectionPool",
    "Origin",
    "Outcome",
    "PoolStats",
    "PreparedBody",
    "request_bytes",
    "request_head",
    "split_address",
]
