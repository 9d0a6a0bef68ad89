"""On whose clock the jobs of an installation are read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from gateway.core.errors import InvalidValue
from gateway.core.zones import Zone, resolve_zone
from importer.plan.notes import Notes
from importer.source.values import Installation

ASSUMED = "Asia/Shanghai"
GIVEN, FOUND, GUESSED = "given", "found in Quartz's tables", "assumed"

# Java's short names, as its documentation lists them, and what IANA's database calls the same clock.
_JAVA: Mapping[str, str] = {
    "ACT": "Australia/Darwin",
    "AET": "Australia/Sydney",
    "AGT": "America/Argentina/Buenos_Aires",
    "ART": "Africa/Cairo",
    "AST": "America/Anchorage",
    "BET": "America/Sao_Paulo",
    "BST": "Asia/Dhaka",
    "CAT": "Africa/Harare",
    "CNT": "America/St_Johns",
    "CST": "America/Chicago",
    "CTT": "Asia/Shanghai",
    "EAT": "Africa/Addis_Ababa",
    "ECT": "Europe/Paris",
    "EST": "UTC-05:00",
    "HST": "UTC-10:00",
    "IET": "America/Indiana/Indianapolis",
    "IST": "Asia/Kolkata",
    "JST": "Asia/Tokyo",
    "MIT": "Pacific/Apia",
    "MST": "UTC-07:00",
    "NET": "Asia/Yerevan",
    "NST": "Pacific/Auckland",
    "PLT": "Asia/Karachi",
    "PNT": "America/Phoenix",
    "PRC": "Asia/Shanghai",
    "PRT": "America/Puerto_Rico",
    "PST": "America/Los_Angeles",
    "SST": "Pacific/Guadalcanal",
    "VST": "Asia/Ho_Chi_Minh",
}


@dataclass(frozen=True, slots=True)
class ChosenZone:
    """`origin` is one of `given`, `found in Quartz's tables`, `assumed`."""

    zone: Zone
    origin: str


def zone_named(name: str, field: str = "timezone") -> Zone:
    """Also by Java's short names. Raises `InvalidValue`."""
    text = name.strip()
    return resolve_zone(_JAVA.get(text, text), field=field)


def known_zone(name: str | None) -> Zone | None:
    try:
        return zone_named(name) if name else None
    except InvalidValue:
        return None


def choose_zone(installation: Installation, given: str | None, notes: Notes) -> ChosenZone:
    """What was asked for, else what most triggers have, else Asia/Shanghai. Raises `InvalidValue` for what was asked for."""
    of_jobs = [job.quartz.timezone for job in installation.jobs if job.quartz and job.quartz.timezone]
    found = Counter(of_jobs).most_common() or [(name, 1) for name in installation.timezones]
    names = list(dict.fromkeys([*(name for name, _ in found), *installation.timezones]))
    known = {name: zone for name in names if (zone := known_zone(name)) is not None}
    if given is not None:
        zone = zone_named(given, "--timezone")
        others = [name for name, other in known.items() if other.name != zone.name]
        if others:
            became, why = zone.name, "the time zone that was given counts for all jobs"
            notes.note("TIME_ZONE_ID", ", ".join(others), became, why)
        return ChosenZone(zone, GIVEN)
    for name in names:
        if name not in known:
            why = "no time zone of this name is known: give one with --timezone"
            notes.warn("TIME_ZONE_ID", name, "the zone of the other jobs", why)
    for name, zone in known.items():
        if zone.name != name:
            notes.note("TIME_ZONE_ID", name, zone.name, "the same clock by the name that is used here")
    if known:
        if len({zone.name for zone in known.values()}) > 1:
            why = "several time zones: each job keeps that of its own trigger"
            notes.warn("TIME_ZONE_ID", ", ".join(names), next(iter(known.values())).name, why)
        return ChosenZone(next(iter(known.values())), FOUND)
    why = (
        "the database does not say on whose clock its schedules are read; this is what the old admin's image and settings "
        "are shipped with: give --timezone if its machine had another"
    )
    notes.warn("timezone", "", ASSUMED, why)
    return ChosenZone(resolve_zone(ASSUMED), GUESSED)
