"""What befalls the database, and the disks of nodes."""

from __future__ import annotations

import subprocess
import time

from tests.faults.oracle import Verdict
from tests.faults.proxy import TO_CLIENT, run_all
from tests.faults.stage import Scenario, Timing, say
from tests.faults.world import Node, Plan, World

READY_S = 60
SLOW_S = 5.0


def _ready_again(world: World) -> None:
    begun = time.monotonic()
    for node in world.nodes:
        node.wait_ready(READY_S)
    world.note(f"all nodes ready {time.monotonic() - begun:.1f} s after it was back")


def restart(world: World, timing: Timing) -> None:
    world.server.stop()
    time.sleep(min(timing.hold_s, 2))
    world.server.start(60)
    _ready_again(world)


def kill(world: World, timing: Timing) -> None:
    world.server.kill()
    time.sleep(timing.hold_s)
    world.server.start(60)
    _ready_again(world)


def freeze(world: World, timing: Timing) -> None:
    world.server.freeze()
    time.sleep(timing.hold_s)
    world.server.thaw()
    _ready_again(world)


def slow(world: World, timing: Timing) -> None:
    """Every answer of the server to every node comes 5 s later."""
    proxies = [node.database for node in world.nodes if node.database is not None]
    run_all([lambda proxy=proxy: proxy.delay(TO_CLIENT, SLOW_S) for proxy in proxies])  # type: ignore[misc]
    time.sleep(timing.hold_s)
    run_all([proxy.heal for proxy in proxies])
    _ready_again(world)


# ---------------------------------------------------------------- a full disk

TMPFS_KB = 1024
RUNS = 20


class FullDiskWorld(World):
    """The first node's data directory is a small file system of its own."""

    mounted: Node | None = None

    def add_node(self) -> Node:
        node = super().add_node()
        if self.mounted is None:
            subprocess.run(
                ["mount", "-t", "tmpfs", "-o", f"size={TMPFS_KB}k", "tmpfs", str(node.data_dir)], check=True
            )
            self.mounted = node
        return node

    def close(self) -> None:
        try:
            super().close()
        finally:
            if self.mounted is not None:
                subprocess.run(["umount", "-l", str(self.mounted.data_dir)], check=False)


def cannot_mount() -> str | None:
    """tmpfs is for root, and not everywhere."""
    place = "/tmp"
    tried = subprocess.run(
        ["unshare", "-m", "mount", "-t", "tmpfs", "tmpfs", place], capture_output=True, text=True
    )
    return f"tmpfs cannot be mounted: {tried.stderr.strip()}" if tried.returncode else None


def fill(node: Node) -> None:
    """Not one more byte goes onto its disk."""
    with (node.data_dir / "filler").open("wb", buffering=0) as file:
        try:
            for size in (65536, 1):
                while True:
                    try:
                        file.write(b"x" * size)
                    except OSError:
                        if size == 1:
                            raise
                        break
        except OSError:
            return


def disk_full(world: World, timing: Timing) -> None:
    """Runs end while the database is away and the only node that the executors know has no room for results."""
    assert isinstance(world, FullDiskWorld)
    assert world.mounted is not None
    api = world.mounted.api
    jobs = [
        api.create_job(world.executors[0].appname, "sleepHandler", name=f"sleeps {n}") for n in range(RUNS)
    ]
    runs = [api.trigger(job_id, params=str(3000 + 100 * n)) for n, job_id in enumerate(jobs)]
    for run_id in runs:
        api.wait_run(run_id, {"running"})
    fill(world.mounted)
    run_all([node.database.refuse for node in world.nodes if node.database is not None])
    say(f"{len(runs)} runs will end while nothing can be stored")
    time.sleep(timing.hold_s)
    refused = [event for event in world.events() if event.event == "not_taken"]
    ended = [event for event in world.events() if event.event == "end" and event.run_id in set(runs)]
    acked = [event for event in world.events() if event.event == "acked" and event.run_id in set(runs)]
    world.note(f"{len(ended)} results, {len(acked)} acknowledged, {len(refused)} refusals with code 500")
    assert len(ended) == RUNS, "all were to end while the database was away"
    assert not acked, f"acknowledged and nowhere stored: {acked}"
    assert refused, "nothing was refused"
    run_all([node.database.heal for node in world.nodes if node.database is not None])
    _ready_again(world)
    for run_id in runs:
        assert api.wait_run(run_id, timeout_s=30)["state"] == "succeeded"


def no_result_lost(world: World, _verdict: Verdict) -> list[str]:
    rows = world.rows()
    wrong = [
        rows.get(event.run_id)
        for event in world.events()
        if event.event == "end"
        and event.code == 200
        and (event.run_id not in rows or rows[event.run_id].state != "succeeded")
    ]
    return [f"{len(wrong)} results did not arrive, the first: {wrong[0]}"] if wrong else []


SCENARIOS = [
    Scenario(
        "database restarted", "in order, a few seconds", restart, Plan(proxied_database=False), silence_s=20
    ),
    Scenario(
        "database killed", "SIGKILL, back later", kill, Plan(proxied_database=False), hold_s=10, silence_s=30
    ),
    Scenario(
        "database frozen", "it accepts and says nothing", freeze, Plan(proxied_database=False), silence_s=30
    ),
    Scenario(
        "database slow (5 s a query)",
        "late, never double",
        slow,
        hold_s=30,
        short_s=12,
        silence_s=None,
        settle_s=90,
    ),
    Scenario(
        "disk of a node full, database away",
        "results are refused with code 500 and kept by the executors",
        disk_full,
        Plan(executors=("own", "own"), admins=(0,)),
        FullDiskWorld,
        hold_s=10,
        short_s=8,
        silence_s=30,
        lacks=cannot_mount,
        check=no_result_lost,
    ),
]
