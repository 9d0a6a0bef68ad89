"""What can be wrong with the database that is moved from, and with the one that is moved to."""

from __future__ import annotations

from gateway.core.errors import GatewayError


class SourceError(GatewayError):
    """The source cannot be read."""


class SourceLost(SourceError):
    """The connection to the source ended in the middle. Another attempt may succeed."""


class TargetFull(GatewayError):
    """The disk of the gateway's own database is full."""
