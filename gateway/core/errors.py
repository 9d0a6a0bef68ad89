"""Errors that surfaces translate: problem+json for the API, an envelope for executors, a line for the CLI."""

from __future__ import annotations


class GatewayError(Exception):
    """Something went wrong."""

    def __init__(self, message: str | None = None) -> None:
        super().__init__(message or type(self).__doc__ or "")


class InvalidValue(GatewayError):
    """A value is not valid."""

    def __init__(self, field: str, value: object, expected: str) -> None:
        super().__init__(f"{field}: {value!r} is not valid: {expected}")
        self.field = field
        self.value = value
        self.expected = expected


class NotFound(GatewayError):
    """There is nothing of that name."""

    def __init__(self, kind: str, key: object, hint: str = "") -> None:
        super().__init__(f"{kind} {key!r} does not exist" + (f": {hint}" if hint else ""))
        self.kind = kind
        self.key = key


class Conflict(GatewayError):
    """The present state does not allow this."""


class AlreadySubmitted(Conflict):
    """The task id was used before."""

    def __init__(self, task_id: str, run_id: int) -> None:
        super().__init__(f"task_id {task_id!r} was submitted before, as run {run_id}")
        self.task_id = task_id
        self.run_id = run_id


class KeyReused(GatewayError):
    """The idempotency key was used for another request."""

    def __init__(self, key: str) -> None:
        super().__init__(
            f"Idempotency-Key {key!r} was used for another request before: each request needs a key of its own"
        )


class TooMany(GatewayError):
    """A limit of submissions is used up."""

    def __init__(self, whose: str, per_second: float, burst: int, count: int, wait_s: float) -> None:
        limit = f"the limit of {whose} is {per_second:g} a second, {burst} at once"
        if count > burst:
            super().__init__(f"{limit}: {count} in one call are never taken, send fewer in a call")
        else:
            super().__init__(f"{limit}: try again in {wait_s:.3g} s")
        self.wait_s = None if count > burst else wait_s


class Refused(GatewayError):
    """A policy forbids this."""


class Unreachable(GatewayError):
    """An executor cannot be reached. `may_have_heard`: the request left, and no answer came that could be read."""

    def __init__(self, address: str, why: str, *, may_have_heard: bool = False) -> None:
        super().__init__(f"{address} cannot be reached: {why}")
        self.address = address
        self.why = why
        self.may_have_heard = may_have_heard


class StoreError(GatewayError):
    """The database or the spool does not take what it is given."""


class LeaseLost(StoreError):
    """Another node has taken this node's parts over."""
