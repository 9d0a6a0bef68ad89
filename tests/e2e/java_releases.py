"""Released versions of xxl-job-core: their jars, and our program compiled against them.

Maven fetches from Maven Central into the test cache, all that is missing in one go; javac compiles against each release.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
SOURCES = HERE / "java"
PLUGIN = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1"
# The parents of two releases are not on Maven Central; all that the children take from them is this property.
LOST_PARENTS = ("1.5.2", "1.6.2")
LOST_PARENT = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>com.xuxueli</groupId>
  <artifactId>xxl-job</artifactId>
  <version>{version}</version>
  <packaging>pom</packaging>
  <properties><spring.version>3.2.17.RELEASE</spring.version></properties>
</project>
"""
ALL_OF_THEM = """\
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>gateway.tests</groupId>
  <artifactId>releases</artifactId>
  <version>1</version>
  <packaging>pom</packaging>
  <modules>{modules}</modules>
</project>
"""
# What Hessian and old Springs look into.
OPENED = tuple(
    f"--add-opens=java.base/{package}=ALL-UNNAMED"
    for package in ("java.lang", "java.util", "java.io", "java.math")
)
SLF4J_1, SLF4J_2 = "1.7.36", "2.0.17"


class PeerUnavailableError(Exception):
    """This machine cannot prepare the peer (a missing program, no network)."""


@dataclass(frozen=True)
class Release:
    """`adapter`: the folder of our adapter; `slf4j`: the slf4j-simple that fits the slf4j-api it brings."""

    version: str
    adapter: str
    slf4j: str = SLF4J_1
    flags: tuple[str, ...] = ()
    own_log4j: bool = False


def _releases() -> Iterator[Release]:
    for version in ("1.4.1", "1.5.2"):
        yield Release(version, "before16", flags=OPENED, own_log4j=True)
    yield Release("1.6.2", "before19", flags=OPENED, own_log4j=True)
    for version in ("1.7.0", "1.7.2", "1.8.0", "1.8.2"):
        yield Release(version, "before19", flags=OPENED)
    for version in ("1.9.0", "1.9.1", "1.9.2", "2.0.0", "2.0.1", "2.0.2", "2.1.0", "2.1.1", "2.1.2"):
        yield Release(version, "since19", flags=OPENED)
    yield Release("2.2.0", "since19")
    yield Release("2.3.1", "since23")
    for version in ("2.4.2", "2.5.0", "3.0.0", "3.1.1", "3.2.0", "3.3.2"):
        yield Release(version, "since23", SLF4J_2)


RELEASES = {release.version: release for release in _releases()}


def cache_dir() -> Path:
    path = Path(os.environ.get("XXLJOB_TEST_CACHE") or HERE.parents[1] / ".test-cache").resolve()
    path.mkdir(parents=True, exist_ok=True)
    return path


@contextlib.contextmanager
def one_at_a_time(name: str) -> Iterator[None]:
    with (cache_dir() / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def prepare(argv: list[str], *, what: str) -> None:
    if shutil.which(argv[0]) is None:
        raise PeerUnavailableError(f"no {argv[0]} here: {what}")
    done = subprocess.run(argv, capture_output=True, text=True)
    if done.returncode:
        raise PeerUnavailableError(f"{what} failed: {(done.stdout + done.stderr).strip()[-800:]}")


def _jars(version: str) -> Path:
    """Where the jars of a release are kept, complete if it is there."""
    stamp = hashlib.sha256((SOURCES / "pom.xml").read_bytes() + RELEASES[version].slf4j.encode())
    return cache_dir() / "java" / version / f"jars-{stamp.hexdigest()[:12]}"


def fetch(versions: Sequence[str]) -> None:
    """Have the jars of these releases. What is there already takes no time."""
    with one_at_a_time("java"):
        missing = [version for version in versions if not _jars(version).is_dir()]
        if not missing:
            return
        place = cache_dir() / "java" / "fetch"
        shutil.rmtree(place, ignore_errors=True)
        for version in LOST_PARENTS:
            pom = place / "parents" / "com" / "xuxueli" / "xxl-job" / version / f"xxl-job-{version}.pom"
            pom.parent.mkdir(parents=True)
            pom.write_text(LOST_PARENT.format(version=version))
        for version in missing:
            (place / version).mkdir()
            text = (SOURCES / "pom.xml").read_text().replace("<version>1<", f"<version>{version}<")
            for name, value in (
                ("xxl.version", version),
                ("slf4j.version", RELEASES[version].slf4j),
                ("parents", f"file://{place / 'parents'}"),
            ):
                head, _, rest = text.partition(f"<{name}>")
                text = f"{head}<{name}>{value}</{name}>{rest.partition(f'</{name}>')[2]}"
            (place / version / "pom.xml").write_text(text)
        modules = "".join(f"<module>{version}</module>" for version in missing)
        (place / "pom.xml").write_text(ALL_OF_THEM.format(modules=modules))
        prepare(
            ["mvn", "-q", "-B", "-f", str(place / "pom.xml"), f"{PLUGIN}:copy-dependencies", "-DincludeScope=runtime"],
            what=f"fetching xxl-job-core {', '.join(missing)} with Maven",
        )  # fmt: skip
        for version in missing:
            _jars(version).parent.mkdir(parents=True, exist_ok=True)
            (place / version / "target" / "dependency").rename(_jars(version))


def classpath(version: str) -> str:
    """Jars and classes of one release, from the cache when they are there."""
    release = RELEASES[version]
    if shutil.which("java") is None:
        raise PeerUnavailableError("no java here: released xxl-job-core executors are run as peers")
    fetch([version])
    jars = _jars(version)
    sources = sorted([*(SOURCES / "common").glob("*.java"), *(SOURCES / release.adapter).glob("*.java")])
    with one_at_a_time(f"java-{version}"):
        stamp = hashlib.sha256(jars.name.encode() + b"".join(s.read_bytes() for s in sources)).hexdigest()[
            :12
        ]
        classes = jars.parent / f"classes-{stamp}"
        if not classes.is_dir():
            unfinished = classes.with_suffix(".unfinished")
            shutil.rmtree(unfinished, ignore_errors=True)
            prepare(
                [
                    *("javac", "-encoding", "UTF-8", "--release", "17", "-d", str(unfinished)),
                    *("-J-XX:TieredStopAtLevel=1", "-cp", f"{jars}/*", *map(str, sources)),
                ],
                what=f"compiling the test executor for {version}",
            )
            unfinished.rename(classes)
    if not release.own_log4j:
        return f"{classes}:{jars}/*"
    rest = [str(jar) for jar in sorted(jars.glob("*.jar")) if not jar.name.startswith("slf4j-simple")]
    return ":".join([str(classes), str(SOURCES / "log4j"), *rest])
