"""The one place that wires all rooms into a running node."""

from __future__ import annotations

from gateway.app.database import check_database, migrate_database
from gateway.app.listen import EVERYWHERE
from gateway.app.node import Node, running

__all__ = ["EVERYWHERE", "Node", "check_database", "migrate_database", "running"]
