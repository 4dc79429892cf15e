"""Locks on folders that die with their holders: whatever is killed, there is nothing to unlock."""

import errno
import fcntl
import json
import os
import socket
import time
from pathlib import Path
from typing import IO

import psutil

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP)  # a network disk may have none
TRIES = 10  # a tenth of a second apart: whoever looks at a lock holds it for a moment, longer on a busy machine


def lock(path: Path, wait: bool = False) -> tuple[IO[str], dict]:
    """(open file, {}) of a lock held until the file and each copy that a child process was given are closed.

    Held by another process: (file, what it wrote with :func:`sign`) soon, or with ``wait`` when it is free.
    """
    file = open(path, "a+", encoding="utf-8")  # noqa: SIM115  the lock is held as long as it is open
    try:
        for tries_left in reversed(range(TRIES)):
            try:
                fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
                break
            except BlockingIOError:  # perhaps only looked at
                if not tries_left:
                    return file, _signed(file)
                time.sleep(0.1)
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return file, {}


def sign(file: IO[str], name: str, **processes: int) -> None:
    """Write into a lock held who holds it: a name and the numbers of processes on this machine."""
    file.truncate(0)
    json.dump({"name": name, "host": socket.gethostname(), **processes}, file)
    file.flush()


def lives(holder: dict, process: str) -> bool:
    """Whether that process of a lock's holder is there; one on another machine is believed to be."""
    return holder.get("host") != socket.gethostname() or psutil.pid_exists(holder.get(process) or os.getpid())


def holder(path: Path) -> dict:
    """What the process that holds the lock at ``path`` wrote with :func:`sign`; {} where none does. Takes nothing
    and leaves nothing behind."""
    try:
        with open(path, encoding="utf-8") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # given back at once
            except BlockingIOError:
                return _signed(file)
            except OSError as error:
                if error.errno not in NO_LOCKS:
                    raise
                signed = _signed(file)
                return signed if lives(signed, "process") else {}
    except FileNotFoundError:
        pass
    return {}


def _signed(file: IO[str]) -> dict:
    file.seek(0)
    try:
        return json.loads(file.read()) or {"name": "?"}
    except ValueError:
        return {"name": "?"}
