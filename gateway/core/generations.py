"""The generations of executors, as far as a scheduler has to tell them apart."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

MAX_INT_ID = (1 << 31) - 1


class Generation(NamedTuple):
    """`int_ids`: log ids have 32 bits there. `has_token`: its calls carry the access token."""

    releases: str
    int_ids: bool = False
    has_token: bool = True


FORM14 = "form14"
FORM15 = "form15"
NETCOM16 = "netcom16"
NETCOM17 = "netcom17"
NETCOM18 = "netcom18"
NETCOM19 = "netcom19"
XXLRPC20 = "xxlrpc20"
XXLRPC21 = "xxlrpc21"
REST = "rest"
REST35 = "rest35"

GENERATIONS: Mapping[str, Generation] = MappingProxyType(
    {
        FORM14: Generation("1.4.0 to 1.4.2", int_ids=True, has_token=False),
        FORM15: Generation("1.5.0 to 1.5.2", int_ids=True, has_token=False),
        NETCOM16: Generation("1.6.0 to 1.7.1", int_ids=True, has_token=False),
        NETCOM17: Generation("1.7.2 and 1.8.0", int_ids=True, has_token=False),
        NETCOM18: Generation("1.8.1 to 1.9.1", int_ids=True),
        NETCOM19: Generation("1.9.2", int_ids=True),
        XXLRPC20: Generation("2.0.0 to 2.1.0", int_ids=True),  # 2.1.0 could hold more, and looks the same
        XXLRPC21: Generation("2.1.1 and 2.1.2"),
        REST: Generation("2.2.0 to 3.4.2, and other languages"),
        REST35: Generation("3.5"),
    }
)
UNREGISTERED = frozenset({FORM14, FORM15, NETCOM16})  # they write to the old admin's database instead
INT_IDS = frozenset(name for name, one in GENERATIONS.items() if one.int_ids)


def int_ids(dialect: str) -> bool:
    return dialect in INT_IDS
