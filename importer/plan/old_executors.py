"""Executors of the first releases need help here: they do not register, or send no access token."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address, ip_network
from urllib.parse import urlsplit

from gateway.core.model import AddressMode
from importer.plan.apps import DraftApp, addresses_of
from importer.plan.notes import Notes
from importer.source.values import Installation

MOST_NETWORKS = 64
_WRITE_TO_DATABASE, _NO_TOKEN, _SOME_WITHOUT = (1, 7, 1), (1, 7, 2), (1, 8, 2)


def help_old_executors(drafts: Sequence[DraftApp], installation: Installation, general: Notes) -> None:
    """Up to 1.7.1 they write their address into the old admin's database: apps take it from there, by hand from now on.

    Up to 1.8.0 they send no token: they are let in from where they were seen, and from nowhere else.
    """
    if installation.last > _SOME_WITHOUT or not drafts:
        return
    if installation.last > _NO_TOKEN:
        why = "executors of 1.8.0 send no access token: say in `tokenless_from` of their app where they are"
        general.warn("executors", installation.release, "let in with a token", why)
        return
    if installation.last <= _WRITE_TO_DATABASE:
        why = (
            "executors of these releases are called with the address that `serve --advertise HOST:PORT` gives them: without "
            "it their runs fail"
        )
        general.warn("executors", installation.release, "entered by hand", why)
    for draft in drafts:
        if draft.gone:
            continue
        known = [one.address for one in installation.executors if one.appname == draft.registered_as]
        seen = addresses_of(",".join(known), "registry_value", Notes(draft.notes.where))
        if installation.last <= _WRITE_TO_DATABASE and draft.mode is AddressMode.AUTO:
            _enter(draft, seen)
        _let_in(draft, dict.fromkeys([*draft.addresses, *seen]))


def _enter(draft: DraftApp, seen: tuple[str, ...]) -> None:
    why = "executors of these releases write to the old admin's database and do not register here"
    if seen:
        draft.mode, draft.addresses = AddressMode.MANUAL, seen
        became = f"addresses of app {draft.appname!r}"
        why += ": those that were there when it was read are entered by hand"
    else:
        became = "no addresses"
        why += ", and none was there when it was read: enter theirs"
    draft.notes.warn("registry_value", ", ".join(seen), became, why)


def _let_in(draft: DraftApp, addresses: Iterable[str]) -> None:
    hosts = [urlsplit(one).hostname or "" for one in addresses]
    networks = list(dict.fromkeys(_network(one) for one in hosts))
    draft.tokenless_from = tuple(one for one in networks if one)[:MOST_NETWORKS]
    unknown = [host for host in hosts if _network(host) not in draft.tokenless_from]
    if draft.tokenless_from:
        why = (
            "executors of these releases send no access token: calls from these addresses are let in without one, for this "
            "app alone"
        )
        draft.notes.warn("tokenless_from", "", ", ".join(draft.tokenless_from), why)
    if unknown:
        why = "executors of these releases send no access token, and a name is no network: say in `tokenless_from` where they are"
        draft.notes.warn("tokenless_from", ", ".join(dict.fromkeys(unknown)), "not let in", why)


def _network(host: str) -> str:
    try:
        return str(ip_network(ip_address(host)))
    except ValueError:
        return ""
