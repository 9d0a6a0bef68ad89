"""Two mariadbd that replicate each other with Galera: nodes a and b on the first, c on the second; one is killed.

Of two servers none has a majority alone, so the one that is to survive counts twice (pc.weight), as an arbitrator's
vote would do it.
"""

from __future__ import annotations

from pathlib import Path

from tests.faults.stage import Scenario, Timing, hold
from tests.faults.world import Plan, World
from tests.kit.mariadb import MariadbServer
from tests.kit.process import free_port, wait_until

PROVIDER = Path("/usr/lib/galera/libgalera_smm.so")
HERE = Path(__file__).parent
NEW_CLUSTER = "--wsrep-new-cluster"


def lacks_galera() -> str | None:
    return None if PROVIDER.exists() else "no Galera here (Debian: galera-4)"


class GaleraWorld(World):
    victim = 1

    def __init__(self, directory: Path, _server: MariadbServer, schema: str, plan: Plan) -> None:
        ports = [free_port(), free_port()]
        self.servers: list[MariadbServer] = []
        for number, port in enumerate(ports):
            provider = {
                "gmcast.listen_addr": f"tcp://127.0.0.1:{port}",
                "ist.recv_addr": f"127.0.0.1:{free_port()}",
                "gcache.size": "32M",
                "pc.weight": 1 if number == self.victim else 2,
                "evs.suspect_timeout": "PT2S",  # a killed server is given up after this
                "evs.keepalive_period": "PT0.5S",
                "evs.inactive_timeout": "PT5S",
            }
            server = MariadbServer(
                directory / f"mariadb-{number}",
                options=[
                    *("--wsrep-on=ON", f"--wsrep-provider={PROVIDER}", "--wsrep-cluster-name=faults"),
                    "--wsrep-cluster-address=gcomm://" + ",".join(f"127.0.0.1:{one}" for one in ports),
                    f"--wsrep-provider-options={';'.join(f'{k}={v}' for k, v in provider.items())}",
                    *(f"--wsrep-node-name=m{number}", f"--wsrep-node-address=127.0.0.1:{port}"),
                    *("--wsrep-sst-method=local", "--binlog-format=ROW", "--innodb-autoinc-lock-mode=2"),
                    *((NEW_CLUSTER,) if number == 0 else ()),
                ],
            )
            # The server looks for wsrep_sst_local, which lies beside this file.
            server._process.env["PATH"] = f"{HERE}:{server._process.env['PATH']}"
            self.servers.append(server)
        super().__init__(directory, self.servers[1 - self.victim], schema, plan)

    def start(self) -> None:
        first, second = self.servers
        first.start(60)
        (second.directory / "data").mkdir(parents=True)
        second._created = True  # its data comes from the first
        second.start(60)
        wait_until(
            lambda: second.execute("SHOW STATUS LIKE 'wsrep_local_state_comment'")[0][1] == "Synced",
            timeout_s=30,
            what="the second server to be in step",
        )
        super().start()

    def database_port(self, number: int) -> int:
        return self.servers[number // 2 % 2].port

    def close(self) -> None:
        try:
            super().close()
        finally:
            for server in self.servers:
                server.close()


class FirstKilled(GaleraWorld):
    victim = 0


def kill_server(world: World, timing: Timing) -> None:
    """Killed, and back later as a member of what the other one has gone on with."""
    assert isinstance(world, GaleraWorld)
    world.note(f"jobs by node: {world.jobs_by_node()}")
    server = world.servers[world.victim]
    server.kill()
    hold(world, "c" if world.victim else "a", timing.hold_s)
    world.note(f"jobs by node: {world.jobs_by_node()}")
    argv = server._process.argv
    if NEW_CLUSTER in argv:
        argv.remove(NEW_CLUSTER)
    server.start(60)
    for node in world.nodes:
        node.wait_ready(60)


SCENARIOS = [
    Scenario(
        "Galera: the second server killed, then back",
        "one node of three has lost its database",
        kill_server,
        world=GaleraWorld,
        silence_s=15,
        lacks=lacks_galera,
    ),
    Scenario(
        "Galera: the first server killed, then back",
        "two nodes of three have lost their database",
        kill_server,
        world=FirstKilled,
        silence_s=15,
        lacks=lacks_galera,
    ),
]
