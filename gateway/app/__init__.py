"""The one place that wires all rooms into a running node."""

from __future__ import annotations

from gateway.app.database import check_database, migrate_database
from gateway.app.listen import EVERYWHERE, is_worker
from gateway.app.node import Node, running
from gateway.app.target import looking_at, working_on
from gateway.app.workers import parent_gone, running_workers, say_ready

__all__ = [
    "EVERYWHERE",
    "Node",
    "check_database",
    "is_worker",
    "looking_at",
    "migrate_database",
    "parent_gone",
    "running",
    "running_workers",
    "say_ready",
    "working_on",
]
