"""What the admin web endpoints are given."""

from __future__ import annotations

from compat.admin.ports import AdminPorts
from gateway.api.services import Services
from gateway.core.access import TokenCheck
from gateway.core.positions import Positions
from gateway.core.users import Sessions
from gateway.core.zones import resolve_zone


def admin_ports(
    services: Services,
    sessions: Sessions,
    positions: Positions,
    access: TokenCheck,
    *,
    shared_tokens: bool,
) -> AdminPorts:
    return AdminPorts(
        users=services.users,
        sessions=sessions,
        access=access,
        jobs=services.jobs,
        apps=services.apps,
        runs=services.runs,
        remover=services.remover,
        daily=services.daily,
        operations=services.operations,
        positions=positions,
        quotas=services.quotas,
        clock=services.clock,
        zone=resolve_zone(services.timezone),
        trusted=services.hooks.trusted,
        shared_tokens=shared_tokens,
    )
