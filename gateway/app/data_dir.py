"""The data directory: held by one process, and what it keeps of the node."""

from __future__ import annotations

import fcntl
import secrets
import socket
from pathlib import Path
from typing import BinaryIO

from gateway.core.errors import InvalidValue, Refused


def lock_data_dir(data_dir: Path) -> BinaryIO:
    """Hold the data directory for this process alone. Raises `Refused` when another one has it."""
    try:
        data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = (data_dir / "lock").open("a+b")
    except OSError as error:
        raise InvalidValue(
            "data_dir", str(data_dir), f"a directory this user can write ({error.strerror})"
        ) from None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Refused(f"another gateway is running with the data directory {data_dir}") from None
    return lock


def lock_embedded_database(path: Path) -> BinaryIO:
    """Hold an SQLite file for this process alone, whatever its data directory. Raises `Refused`."""
    path = path.resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(path.name + ".lock").open("a+b")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        lock.close()
        raise Refused(
            f"another gateway is running with the database {path}: SQLite takes one process; "
            "several nodes need MySQL or MariaDB"
        ) from None
    return lock


def instance_of(data_dir: Path) -> str:
    """What tells this data directory from every other, made once."""
    path = data_dir / "instance"
    if not path.exists():
        path.write_text(f"{secrets.token_hex(8)}\n")
    return path.read_text().strip()


def made_up_name(data_dir: Path) -> str:
    """The name of a node that was given none, made once for each data directory."""
    path = data_dir / "node"
    if not path.exists():
        path.write_text(f"{socket.gethostname()[:40]}-{secrets.token_hex(4)}\n")
    return path.read_text().strip()
