"""How many files, and so connections, this process may have open: as many as the system lets it."""

from __future__ import annotations

import contextlib
import resource

import structlog

log = structlog.get_logger(__name__)

FEW = 4096
_MOST = 1 << 20


def raise_limit() -> None:
    """Each executor and each caller is a connection; the usual soft limit of 1,024 is a small fleet."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else hard
    if soft not in (resource.RLIM_INFINITY, wanted):
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < FEW:
        log.warning("few_open_files", limit=soft, wanted=FEW, hint="ulimit -n, or LimitNOFILE of systemd")
