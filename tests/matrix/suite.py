"""Many clients side by side on one gateway."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.e2e import java_releases
from tests.e2e.gateway_process import GatewayProcess
from tests.e2e.java_releases import PeerUnavailableError
from tests.matrix.clients import CLIENTS, FEATURES
from tests.matrix.drive import EXECUTOR_TIMEOUT_S, LACK, NO, Drive, Result

Results = dict[str, dict[str, Result]]


def gateway_in(directory: Path) -> GatewayProcess:
    return GatewayProcess(directory, env={"XXLJOB_GATEWAY_EXECUTOR_TIMEOUT_S": str(EXECUTOR_TIMEOUT_S)})


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
