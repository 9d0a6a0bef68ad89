"""What befalls one node, several, or all."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

from tests.faults.oracle import Verdict
from tests.faults.proxy import TO_CLIENT, TO_SERVER, Proxy
from tests.faults.stage import Scenario, Timing, hold, say, wait_taken_over
from tests.faults.world import ALL_EXECUTORS, Node, Plan, World, now_ms
from tests.kit.process import wait_until

READY_S = 40


def _victim(world: World) -> Node:
    node = world.busiest()
    jobs = world.jobs_by_node()
    world.note(f"node {node.name} has {jobs[node.name]} of {len(world.jobs)} jobs")
    say(world.notes[-1])
    return node


def _database(node: Node) -> Proxy:
    assert node.database is not None, "this scenario needs a proxy before the database"
    return node.database


def nothing(world: World, timing: Timing) -> None:
    time.sleep(timing.hold_s)


def kill(world: World, timing: Timing) -> None:
    victim = _victim(world)
    victim.kill()
    hold(world, victim.name, timing.hold_s)
    victim.begin()
    victim.wait_ready(READY_S)


def freeze(world: World, timing: Timing) -> None:
    victim = _victim(world)
    victim.process.freeze()
    hold(world, victim.name, timing.hold_s)
    victim.process.thaw()
    victim.wait_ready(READY_S)


def cut_from_database(world: World, timing: Timing) -> None:
    victim = _victim(world)
    _database(victim).cut()
    hold(world, victim.name, timing.hold_s)
    _database(victim).heal()
    victim.wait_ready(READY_S)


def cut_off_for_long(world: World, timing: Timing) -> None:
    """The node that all executors report to first: it takes their results, and nobody else knows of them."""
    victim = world.nodes[0]
    world.marks["cut_ms"] = now_ms()
    _database(victim).cut()
    hold(world, victim.name, timing.hold_s)
    waiting = sum(row.state in {"running", "lost"} and row.sent_ms > 0 for row in world.rows().values())
    world.note(f"{waiting} runs that were sent had no result in the database before it was healed")
    _database(victim).heal()
    victim.wait_ready(READY_S)


def none_given_up(world: World, _found: Verdict) -> list[str]:
    """A run that was executed, and whose result was acknowledged, has never been called lost."""
    wrong = [row for row in world.rows().values() if "given up" in row.reason or row.state == "lost"]
    if not wrong:
        return []
    apps = Counter(next(job.app for job in world.jobs if job.job_id == row.job_id) for row in wrong)
    after_s = sorted((row.slot_ms - world.marks["cut_ms"]) / 1000 for row in wrong)
    middle = after_s[len(after_s) // 2]
    world.note(
        f"given up: {dict(apps)}, due {after_s[0]:.1f} to {after_s[-1]:.1f} s (half of them by {middle:.1f} s) "
        f"after the cut, for example {wrong[0]}"
    )
    return [f"{len(wrong)} runs were given up though their results had been acknowledged"]


def refused_by_database(world: World, timing: Timing) -> None:
    victim = _victim(world)
    _database(victim).refuse()
    hold(world, victim.name, timing.hold_s)
    _database(victim).heal()
    victim.wait_ready(READY_S)


def requests_lost(world: World, timing: Timing) -> None:
    _one_way(world, timing, TO_SERVER)


def answers_lost(world: World, timing: Timing) -> None:
    _one_way(world, timing, TO_CLIENT)


def _one_way(world: World, timing: Timing, direction: str) -> None:
    victim = _victim(world)
    _database(victim).hold({direction})
    hold(world, victim.name, timing.hold_s)
    _database(victim).heal()
    victim.wait_ready(READY_S)


def flapping(world: World, timing: Timing) -> None:
    """Away for about as long as a lease, again and again."""
    victim = _victim(world)
    end = time.monotonic() + timing.hold_s
    while time.monotonic() < end:
        _database(victim).cut()
        time.sleep(1.7)
        _database(victim).heal()
        time.sleep(1.1)
    victim.wait_ready(READY_S)


def kill_two(world: World, timing: Timing) -> None:
    victims = world.nodes[:-1] or world.nodes
    for node in victims:
        node.kill()
    if len(world.nodes) > 1:
        hold(world, victims[0].name, timing.hold_s)
    for node in victims:
        node.begin()
    for node in victims:
        node.wait_ready(READY_S)


def kill_all(world: World, timing: Timing) -> None:
    for node in world.nodes:
        node.kill()
    time.sleep(timing.hold_s)
    for node in world.nodes:
        node.begin()
    for node in world.nodes:
        node.wait_ready(READY_S)


def rolling_restart(world: World, timing: Timing) -> None:
    for node in world.nodes:
        code = node.stop(30)
        assert code == 0, f"node {node.name} ended with {code}"
        node.begin()
        node.wait_ready(READY_S)
        world.wait_spread()
        time.sleep(1)


def drain(world: World, timing: Timing) -> None:
    victim = _victim(world)
    other = next(node for node in world.nodes if node is not victim)
    other.api.call("POST", f"/api/v1/nodes/{victim.name}/drain", {}, expect=(200, 202, 204))
    wait_taken_over(world, victim.name, timeout_s=timing.hold_s)
    states = {n["name"]: n["state"] for n in other.api.call("GET", "/api/v1/nodes")["nodes"]}
    assert states[victim.name] == "draining", states
    assert victim.alive
    other.api.call("POST", f"/api/v1/nodes/{victim.name}/resume", {}, expect=(200, 202, 204))
    world.wait_spread()


def join(world: World, timing: Timing) -> None:
    """A fourth node on a database in full work."""
    newcomer = world.add_node()
    newcomer.begin()
    newcomer.wait_ready(READY_S)
    world.wait_spread()
    world.note(f"jobs by node: {world.jobs_by_node()}")


def _worker(world: World) -> tuple[str, int]:
    """The worker with most of our jobs, and its process."""
    (node,) = world.nodes
    jobs = world.jobs_by_node()
    name = max(node.members, key=lambda name: jobs[name])
    world.note(f"worker {name} has {jobs[name]} of {len(world.jobs)} jobs")
    return name, node.worker_pids()[name]


def kill_worker(world: World, timing: Timing) -> None:
    name, pid = _worker(world)
    os.kill(pid, signal.SIGKILL)
    wait_taken_over(world, name, timeout_s=timing.hold_s)
    world.wait_spread()  # its next life has its share


def freeze_worker(world: World, timing: Timing) -> None:
    name, pid = _worker(world)
    os.kill(pid, signal.SIGSTOP)
    hold(world, name, timing.hold_s)
    os.kill(pid, signal.SIGCONT)
    world.wait_spread()


def kill_parent(world: World, timing: Timing) -> None:
    """Its workers must not go on beside those of the next parent."""
    (node,) = world.nodes
    workers = node.worker_pids().values()
    node.kill()
    node.begin()
    wait_until(
        lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers),
        timeout_s=10,
        what="the workers of the dead parent to end",
    )
    wait_until(lambda: len(node.worker_pids()) == node.workers, timeout_s=READY_S, what="new workers")
    node.wait_ready(READY_S)
    time.sleep(timing.hold_s)


WORKERS = Plan(nodes=1, workers=3)
# pyxxl waits for the answer to a result without end, and takes no run of that job meanwhile. A load balancer cuts off what
# it reported to a frozen node; behind one address nobody can tell a frozen worker from a slow one.
PATIENT = tuple(kind for kind in ALL_EXECUTORS if kind != "pyxxl")
SCENARIOS = [
    Scenario("no fault", "what the same looks like when nothing happens", nothing, hold_s=10, silence_s=1),
    Scenario("kill -9 of a node", "the others take over", kill),
    Scenario("kill -9 of two nodes of three", "one takes over all", kill_two),
    Scenario("kill -9 of all nodes", "all that was due is late", kill_all, hold_s=5, short_s=3, silence_s=15),
    Scenario(
        "SIGSTOP of a node, then SIGCONT", "it wakes up and sends nothing", freeze, hold_s=30, short_s=8
    ),
    Scenario("node cut off from the database", "it stops by itself, the others take over", cut_from_database),
    Scenario(
        "node cut off from the database for long",
        "the results it has acknowledged are missed by nobody",
        cut_off_for_long,
        hold_s=150,
        check=none_given_up,
        only_long=True,
    ),
    Scenario("node refused by the database", "the same with resets", refused_by_database),
    Scenario("node to database: requests lost", "one direction only", requests_lost),
    Scenario("node to database: answers lost", "its commits happen and it cannot know", answers_lost),
    Scenario("node to database: flapping", "away for about a lease, again and again", flapping),
    Scenario("rolling restart", "one node after the other", rolling_restart, silence_s=3),
    Scenario("drain and resume a node", "its parts go and come back", drain, silence_s=3),
    Scenario("a node joins", "it gets its share", join, silence_s=3),
    Scenario("kill -9 of a worker of three", "the parent knows at once", kill_worker, WORKERS, silence_s=5),
    Scenario(
        "SIGSTOP of a worker of three",
        "the others take over",
        freeze_worker,
        replace(WORKERS, executors=PATIENT),
    ),
    Scenario(
        "kill -9 of the parent of workers",
        "all end in order, and start again",
        kill_parent,
        WORKERS,
        hold_s=3,
        silence_s=20,
    ),
]
