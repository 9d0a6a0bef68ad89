"""Many clients side by side on one gateway."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e import java_releases
from tests.e2e.gateway_process import ACCESS_TOKEN, GatewayProcess
from tests.e2e.java_releases import PeerUnavailableError
from tests.e2e.peers import make_peer
from tests.kit.process import wait_until
from tests.matrix.clients import CLIENTS, FEATURES, MIXED
from tests.matrix.drive import EXECUTOR_TIMEOUT_S, LACK, NO, YES, Drive, Result

Results = dict[str, dict[str, Result]]


def gateway_in(directory: Path) -> GatewayProcess:
    gateway = GatewayProcess(directory)
    gateway.process.env |= {
        "XXLJOB_GATEWAY_EXECUTOR_TIMEOUT_S": str(EXECUTOR_TIMEOUT_S),
        "XXLJOB_GATEWAY_ADVERTISE": f"127.0.0.1:{gateway.port}",
    }
    return gateway


def prepare(names: Sequence[str]) -> dict[str, str]:
    """Fetch and compile what is missing; the clients that this machine cannot run, with the reason."""
    java_releases.fetch([name.removeprefix("java-") for name in names if name.startswith("java-")])

    def compiled(name: str) -> str:
        try:
            if name.startswith("java-"):
                java_releases.classpath(name.removeprefix("java-"))
        except PeerUnavailableError as lack:
            return str(lack)
        return ""

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return {name: lack for name, lack in zip(names, pool.map(compiled, names), strict=True) if lack}


def drive_all(
    gateway: GatewayProcess,
    names: Sequence[str],
    directory: Path,
    *,
    at_once: int,
    patient: bool = False,
    say: Callable[[str], None] = lambda _: None,
) -> Results:
    """What each client did with each feature. Call it from the main thread: processes end with it."""
    lacking = prepare(names)
    results: Results = {name: {"register": Result(LACK, lack)} for name, lack in lacking.items()}
    wanted = [name for name in names if name not in lacking]
    for begin in range(0, len(wanted), at_once):
        drives: list[Drive] = []
        for name in wanted[begin : begin + at_once]:
            try:
                drive = Drive(CLIENTS[name], gateway, directory / name, patient=patient)
            except PeerUnavailableError as lack:
                results[name] = {"register": Result(LACK, str(lack))}
                continue
            drive.start()
            drives.append(drive)
        all_here = threading.Barrier(max(len(drives), 1))
        with ThreadPoolExecutor(max(len(drives), 1)) as pool:
            done = pool.map(lambda one, here=all_here: one.run(here), drives)
            for drive, _ in zip(drives, done, strict=True):
                results[drive.client.name] = drive.results
                marks = " ".join(
                    f"{feature}:{drive.results[feature].mark}"
                    for feature in FEATURES
                    if feature in drive.results
                )
                say(f"{drive.client.title} ({drive.dialect}): {marks}")
                for feature, result in drive.results.items():
                    if result.mark == NO:
                        say(f"    {feature}: {result.note}")
    return {name: results[name] for name in names}


def mixed(gateway: GatewayProcess, directory: Path, names: Sequence[str] = MIXED) -> Result:
    """Executors of several generations in one app, in one broadcast."""
    peers = []
    try:
        gateway.api.create_app("matrix-mixed")
        for name in names:
            place = directory / f"mixed-{name}"
            peers.append(make_peer(name, gateway.admin_url, "matrix-mixed", ACCESS_TOKEN, place))
            peers[-1].start()
        wanted = {peer.address for peer in peers}
        wait_until(
            lambda: gateway.api.online("matrix-mixed") == wanted, timeout_s=90, what="all of them to be known"
        )
        job_id = gateway.api.create_job("matrix-mixed", "okHandler", route="SHARDING_BROADCAST")
        parent = gateway.api.wait_run(gateway.api.trigger(job_id, params="to all"), timeout_s=30)
        assert parent["state"] == "succeeded", parent
        shards = {row["id"]: row for row in gateway.api.runs(job_id) if row["id"] != parent["id"]}
        assert sorted(row["shard"] for row in shards.values()) == list(range(len(names)))
        for peer in peers:
            (execution,) = peer.executions(run_ids=set(shards))
            assert shards[execution.run_id]["address"].rstrip("/") == peer.address
            place_of = (execution.shard_index, execution.shard_total)
            assert place_of == (shards[execution.run_id]["shard"], len(names))
            assert execution.param == "to all"
    except PeerUnavailableError as lack:
        return Result(LACK, str(lack))
    except Exception as error:
        return Result(NO, f"{type(error).__name__}: {error}"[:600])
    finally:
        for peer in peers:
            peer.kill()
    return Result(YES)
