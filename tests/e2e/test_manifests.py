"""Jobs as files, by the commands themselves: out of one gateway, into an empty one, and nothing is left to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.gateway_process import ADMIN_TOKEN, Ended, GatewayProcess, run_command

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(60)]

NIGHTLY = {"kind": "cron", "expression": "0 0 3 * * ?", "timezone": "Asia/Shanghai", "misfire": "skip"}


@pytest.fixture
def gateways(tmp_path: Path) -> Iterator[tuple[GatewayProcess, GatewayProcess]]:
    both = GatewayProcess(tmp_path / "one"), GatewayProcess(tmp_path / "two")
    for gateway in both:
        gateway.start()
    yield both
    for gateway in both:
        gateway.kill()


def command(gateway: GatewayProcess, *args: object) -> Ended:
    env = {"XXLJOB_GATEWAY_URL": f"http://127.0.0.1:{gateway.api.port}", "XXLJOB_GATEWAY_TOKEN": ADMIN_TOKEN}
    return run_command(*map(str, args), env=env)


def test_from_one_gateway_to_another(gateways: tuple[GatewayProcess, GatewayProcess], tmp_path: Path) -> None:
    one, two = gateways
    one.api.create_app("billing", title="结算")
    # So that an empty gateway would give other ids.
    gone = one.api.create_job("billing", "h")
    child = one.api.create_job("billing", "h", name="发邮件")
    one.api.create_job(
        "billing", "h", name="每天", schedule=NIGHTLY, children=[{"job": child, "on": "end"}], priority=9
    )
    one.api.delete_job(gone)
    folder = tmp_path / "jobs"
    assert command(one, "export", "--output", f"{folder}/").code == 0
    assert "每天" in (folder / "apps" / "billing.yaml").read_text("utf-8")

    refused = command(two, "apply", folder)
    assert (refused.code, "--yes" in refused.errors[-1]) == (2, True)
    assert two.api.call("GET", "/api/v1/apps")["items"] == []

    done = command(two, "apply", folder, "--yes")
    assert done.code == 0, done
    assert "Plan: 3 to create, 0 to change, 0 to remove, 0 unchanged." in done.output
    jobs = {job["name"]: job for job in two.api.call("GET", "/api/v1/jobs")["items"]}
    assert jobs["每天"]["children"] == [{"job": jobs["发邮件"]["id"], "on": "end"}]
    assert (jobs["每天"]["priority"], jobs["每天"]["enabled"]) == (9, True)
    assert command(two, "export").output == command(one, "export").output
