"""What befalls executors, and the way from a node to them."""

from __future__ import annotations

import time
from functools import partial

from tests.e2e.peers import Peer
from tests.faults.executors import OwnExecutor, events_of
from tests.faults.oracle import Verdict
from tests.faults.proxy import TO_CLIENT, TO_SERVER, run_all
from tests.faults.stage import Scenario, Timing, hold
from tests.faults.world import Plan, World, now_ms

OWN = Plan(executors=("own", "own", "own"), jobs_per_app=16)
THROUGH_PROXIES = Plan(executors=("own", "own", "own"), jobs_per_app=16, proxied_executors=True)
BOTH = frozenset({TO_SERVER, TO_CLIENT})
RUNS = 4
WORKS_MS = 20_000
GRACE_MS = 1500  # for what was on its way, and for the word to reach all nodes


def _own(world: World) -> OwnExecutor:
    return next(peer for peer in world.executors if isinstance(peer, OwnExecutor))


def _one_of_each(world: World) -> list[Peer]:
    """One executor of our own and the newest Java, where there is one."""
    return [_own(world), *[peer for peer in world.executors if peer.name.startswith("java")][-1:]]


# ---------------------------------------------------------------- between a node and the executors


def cut_from_executors(world: World, timing: Timing) -> None:
    _between(world, timing, BOTH)


def isolated(world: World, timing: Timing) -> None:
    """One node reaches neither database nor executors; what it had sent arrives when the others have long settled it."""
    victim = world.busiest()
    world.note(f"node {victim.name} has {world.jobs_by_node().get(victim.name)} of {len(world.jobs)} jobs")
    assert victim.database is not None
    pids = {victim.process.pid}
    run_all(
        [
            victim.database.cut,
            *(partial(proxy.hold, BOTH, pids=pids) for proxy in world.executor_proxies.values()),
        ]
    )
    hold(world, victim.name, timing.hold_s)
    run_all([victim.database.heal, *(proxy.heal for proxy in world.executor_proxies.values())])
    victim.wait_ready(40)


def requests_lost(world: World, timing: Timing) -> None:
    _between(world, timing, frozenset({TO_SERVER}))


def answers_lost(world: World, timing: Timing) -> None:
    _between(world, timing, frozenset({TO_CLIENT}))


def _between(world: World, timing: Timing, directions: frozenset[str]) -> None:
    """Only the connections of one node: the others reach all executors."""
    victim = world.busiest()
    world.note(f"node {victim.name} has {world.jobs_by_node().get(victim.name)} of {len(world.jobs)} jobs")
    for proxy in world.executor_proxies.values():
        proxy.hold(directions, pids={victim.process.pid})
    time.sleep(timing.hold_s)
    for proxy in world.executor_proxies.values():
        proxy.heal()


def executor_cut(world: World, timing: Timing) -> None:
    """One executor is out of reach of everybody."""
    proxy = next(iter(world.executor_proxies.values()))
    proxy.cut()
    time.sleep(timing.hold_s)
    proxy.heal()


# ---------------------------------------------------------------- executors


def never_answers(world: World, timing: Timing) -> None:
    """It takes connections and runs, executes them, and answers nothing."""
    _silent(world, timing, "mute")


def takes_and_forgets(world: World, timing: Timing) -> None:
    """It takes connections and reads, and neither executes nor answers."""
    _silent(world, timing, "deaf")


def _silent(world: World, timing: Timing, mode: str) -> None:
    executor = _own(world)
    executor.mode(mode)
    time.sleep(timing.hold_s)
    executor.mode("normal")


def frozen(world: World, timing: Timing) -> None:
    victims = _one_of_each(world)
    for peer in victims:
        peer.freeze()
    time.sleep(timing.hold_s)
    for peer in victims:
        peer.thaw()


def restarted(world: World, timing: Timing) -> None:
    """SIGKILL, and back at the same address before anybody has missed them."""
    victims = _one_of_each(world)
    for peer in victims:
        peer.kill()
    time.sleep(min(2, timing.hold_s))
    for peer in victims:
        peer.start()
    for peer in victims:
        peer.wait_listening()
    time.sleep(2)


def killed_while_working(world: World, timing: Timing) -> None:
    """Nobody will ever report the runs that were under way: they end as lost, and are not executed again."""
    api = world.nodes[0].api
    victims = _one_of_each(world)
    runs: list[int] = []
    for peer in victims:
        for number in range(RUNS):
            job_id = api.create_job(peer.appname, "sleepHandler", name=f"works {peer.port} {number}")
            runs.append(api.trigger(job_id, params=str(WORKS_MS), addresses=[peer.address]))
    for run_id in runs:
        api.wait_run(run_id, {"running"})
    time.sleep(1)
    killed = time.monotonic()
    for peer in victims:
        peer.kill()
    time.sleep(1)
    for peer in victims:
        peer.start()
    for run_id in runs:
        row = api.wait_run(run_id, timeout_s=240)
        assert row["state"] == "lost", row
    world.note(f"{len(runs)} runs that were under way ended as lost within {time.monotonic() - killed:.0f} s")
    begun = [event.run_id for event in world.events() if event.event == "start" and event.run_id in set(runs)]
    assert sorted(begun) == sorted(runs), f"each once: {begun}"


def address_reused(world: World, timing: Timing) -> None:
    """An executor dies, and another app's gets its address, as a new pod does."""
    gone = _own(world)
    gone.kill()
    world.nodes[0].api.create_app("faults-other")
    newcomer = world.add_executor("own", "faults-other", port=gone.port)
    world.wait_registered([newcomer])
    world.create_job("faults-other", "of the other app", {"kind": "fixed_rate", "expression": "1s"}, 1000)
    world.marks |= {"newcomer": newcomer, "registered_ms": now_ms()}
    time.sleep(timing.hold_s)


def no_stranger(world: World, _found: Verdict) -> list[str]:
    """Once the newcomer is registered, it gets its own app's runs only."""
    newcomer, registered_ms = world.marks["newcomer"], world.marks["registered_ms"]
    strangers = [
        event
        for event in events_of(newcomer)
        if event.event == "receive" and event.job_id != world.jobs[-1].job_id and event.pid == newcomer.pid
    ]
    late = [event for event in strangers if event.at_ms > registered_ms + GRACE_MS]
    world.note(
        f"{len(strangers)} runs of the first app came to the other's executor, {len(late)} of them late"
    )
    return [f"{len(late)} runs of the first app went to the other app's executor"] if late else []


def nothing_unreported(world: World, found: Verdict) -> list[str]:
    """What the mute one has executed is known in the end."""
    unreported = _own(world).stats()["unreported"]
    return [f"{unreported} results are still with the executor"] if unreported else []


FAILED = frozenset({"failed"})
SCENARIOS = [
    Scenario(
        "node isolated", "from the database and the executors at once", isolated, THROUGH_PROXIES, settle_s=90
    ),
    Scenario(
        "node cut off from the executors",
        "its sends are doubtful, not repeated blindly",
        cut_from_executors,
        THROUGH_PROXIES,
        silence_s=25,
        settle_s=90,
    ),
    Scenario(
        "node to executors: requests lost",
        "they arrive later",
        requests_lost,
        THROUGH_PROXIES,
        silence_s=25,
        settle_s=90,
    ),
    Scenario(
        "node to executors: answers lost",
        "received, and nobody says so",
        answers_lost,
        THROUGH_PROXIES,
        silence_s=25,
        settle_s=90,
    ),
    Scenario(
        "an executor out of reach", "of all nodes", executor_cut, THROUGH_PROXIES, silence_s=25, settle_s=90
    ),
    Scenario(
        "executor accepts and never answers",
        "it executes, so nothing is sent again",
        never_answers,
        silence_s=20,
        settle_s=90,
        check=nothing_unreported,
    ),
    Scenario(
        "executor takes runs and forgets them",
        "it never received them: sent again",
        takes_and_forgets,
        silence_s=20,
        settle_s=90,
    ),
    Scenario("executors frozen, then thawed", "own and Java", frozen, silence_s=25, settle_s=90),
    Scenario(
        "executors restarted at the same address",
        "own and Java",
        restarted,
        may=FAILED,
        may_stay=True,
        silence_s=10,
    ),
    Scenario(
        "executors killed while they work",
        "their runs end as lost",
        killed_while_working,
        may=FAILED,
        may_stay=True,
        silence_s=10,
        only_long=True,
    ),
    Scenario(
        "address reused by another app",
        "the dead app's runs do not go there",
        address_reused,
        OWN,
        may=FAILED,
        may_stay=True,
        check=no_stranger,
    ),
]
