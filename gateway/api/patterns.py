"""What the patterns of names mean, for people who wrote another one."""

from __future__ import annotations

from gateway.api.models.base import APPNAME
from gateway.api.models.calendars import NAME as CALENDAR
from gateway.core.envs import NAME as VARIABLE
from gateway.core.placement import LABEL

WORDS = {
    APPNAME: "letters, digits, '.', '_' and '-', beginning with a letter or digit",
    CALENDAR: "letters, digits, '_', '.' and '-', not beginning with '.' or '-'",
    VARIABLE: "a letter or '_', then letters, digits, '_', '.' and '-', at most 128 characters",
    LABEL: "a letter or digit, then letters, digits, '.', '_', ':', '=', '/' and '-', at most 64 characters",
}
