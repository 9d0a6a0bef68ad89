"""Who answers for a job, in the words of xxl-job-admin."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Contact:
    """`alarm_email`: addresses separated by commas. `remark`: what was said of the last change of a GLUE source."""

    author: str = ""
    alarm_email: str = ""
    remark: str = ""


UNSIGNED = Contact()
