"""Runs that start within a second: forks of a process that has imported what jobs and their kernels need.

The command of a study starts that process (:func:`server`). A job of Snakemake's has it fork the process that executes
the run (:func:`job`), and that one a process that is the notebook's kernel (:func:`fork`). A fork has the environment,
folder, threads and open files of the process that it is made for, ends with it, and ends it with its own status. Where
there is no such server (clusters, other systems than Linux, a job that a user starts), processes are started cold.
"""

import atexit
import ctypes
import fcntl
import gc
import importlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from pkgutil import resolve_name
from typing import IO, Any

ADDRESS = "XSTILTS_WARM"  # in the environment of jobs: the server's socket; where it is set already, none is started
# What is imported once. Nothing may be computed, as threads do not survive a fork
MODULES = (
    "xstilts.__main__", "xstilts.workflow", "papermill", "ipykernel.kernelapp", "xstilts.phases", "xstilts.plots",
    "xstilts.summaries", "xstilts.sources.micro", "seqeval.metrics.sequence_labeling", "pandas.io.formats.style",
    "matplotlib.backends.backend_agg",
)  # fmt: skip
# Forks set the number of their threads themselves; the backend of figures in a notebook; no CUDA before a fork
IMPORTING = {
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MPLBACKEND": "module://matplotlib_inline.backend_inline",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "JPY_PARENT_PID": "0",
}  # fmt: skip


class Fork:
    """A process that the server forked, with the interface of ``subprocess.Popen``. It is killed when this object, or
    the process that holds it, is gone."""

    stdin = stdout = stderr = None

    def __init__(self, connection: socket.socket, pid: int):
        self.connection, self.pid = connection, pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        with suppress(BlockingIOError):
            self._receive(socket.MSG_DONTWAIT)
        return self.returncode

    def wait(self) -> int | None:
        self._receive()
        return self.returncode

    def _receive(self, flags: int = 0) -> None:
        if self.returncode is None:
            status = _number(self.connection, flags)
            if self.returncode is None:  # a signal's handler may have been first
                self.returncode = -signal.SIGKILL if status is None else status  # it ends with its server

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def fork(
    function: str, arguments: list[str], environment: Mapping[str, str], folder: str, descriptors: Mapping[int, int]
) -> Fork | None:
    """Have the server call ``function`` (``module:name``) in a fork; None where there is no server.

    Args:
        arguments: its ``sys.argv``.
        folder: its working directory.
        descriptors: number of a file in the fork -> open file of this process.
    """
    values = {"function": function, "arguments": arguments, "environment": dict(environment), "folder": folder}
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(os.environ[ADDRESS])
        socket.send_fds(connection, [b" "], list(descriptors.values()))
        connection.sendall(json.dumps(values | {"descriptors": list(descriptors)}).encode() + b"\n")
        pid = _number(connection)
    except (KeyError, OSError):
        pid = None
    if pid is None:
        connection.close()
        return None
    return Fork(connection, pid)


def job() -> int | None:
    """Do what this process was started for, a run, in a fork; its exit status, None where there is no server."""
    process = fork("xstilts.__main__:main", sys.argv, os.environ, os.getcwd(), {0: 0, 1: 1, 2: 2})
    if process is None:
        return None
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, _: process.send_signal(number))
    status = process.wait()
    if status is not None and status < 0:  # what ended it ends this process
        if -status != signal.SIGKILL:
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    return status


def _number(connection: socket.socket, flags: int = 0) -> int | None:
    """A number that the other side sent; None where it is gone."""
    try:
        sent = connection.recv(4, flags)
    except ConnectionError:
        return None
    return int.from_bytes(sent, "little", signed=True) if sent else None


def _send(connection: socket.socket, number: int) -> None:
    with suppress(OSError):  # the other side is gone
        connection.sendall(number.to_bytes(4, "little", signed=True))


@contextmanager
def server(log: IO[str], local: bool = True) -> Iterator[tuple[dict[str, str], list[int]]]:
    """A server whose messages go to ``log``: (environment of jobs, descriptors for whoever starts them). It ends when
    the context is over, whoever holds these is gone, and so are its forks. None where jobs are not ``local``."""
    if not local or sys.platform != "linux" or ADDRESS in os.environ:
        yield dict(os.environ), []
        return
    with tempfile.TemporaryDirectory(prefix="xstilts-") as folder, socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{folder}/warm")  # jobs may come from now on, and wait for the imports
        listener.listen(socket.SOMAXCONN)
        process = subprocess.Popen(
            [sys.executable, "-Xfrozen_modules=off", "-m", "xstilts.warm", str(listener.fileno())],
            stdin=subprocess.PIPE, stdout=log, stderr=log, env=os.environ | IMPORTING, start_new_session=True,
            pass_fds=[listener.fileno()],
        )  # fmt: skip
        listener.close()
        assert process.stdin
        with process.stdin as held:
            yield os.environ | {ADDRESS: f"{folder}/warm"}, [held.fileno()]


def main() -> None:
    """What the server does and, in a fork, what that is made for."""
    listener, code = socket.socket(fileno=int(sys.argv[1])), _code()
    del sys.path[0]  # the folder that the command of the study was given in
    for name in MODULES:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all pages
    if connection := _serve(listener, code):
        status = _call(connection)
        # as an interpreter ends, but for freeing all that was imported, which takes longer than the start
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        os._exit(status or 0)


def _code() -> dict[Path, int]:
    """When each module of this project was written."""
    return {path: path.stat().st_mtime_ns for path in Path(__file__).parents[1].rglob("*.py")}


def _serve(listener: socket.socket, code: dict[Path, int]) -> socket.socket | None:
    """Fork for whoever connects until the study and all forks are gone. Returns in each fork, with its connection, and
    at the end, with None."""
    forks: dict[int, tuple[int, socket.socket]] = {}  # descriptor of the process -> (number, connection)
    poll = select.poll()
    poll.register(0, 0)  # closed when the study is gone
    poll.register(listener, select.POLLIN)
    studied = True
    while studied or forks:
        (descriptor, _), *_ = poll.poll()
        if descriptor == 0:
            poll.unregister(0)
            studied = False
        elif descriptor == listener.fileno():
            connection, _ = listener.accept()
            if code != _code():  # what the run is recorded to be made by must be what made it
                connection.close()
                continue
            pid = os.fork()
            if not pid:
                listener.close()
                for descriptor, (_, other) in forks.items():
                    os.close(descriptor)
                    other.close()
                return connection
            os.setpgid(pid, pid)  # before anyone may signal its group
            handle = os.pidfd_open(pid)
            forks[handle] = pid, connection
            poll.register(handle, select.POLLIN)
            poll.register(connection, 0)
            _send(connection, pid)
        elif descriptor in forks:  # it has ended
            pid, connection = forks.pop(descriptor)
            _send(connection, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
            poll.unregister(descriptor)
            with suppress(KeyError):
                poll.unregister(connection)
            connection.close()
            os.close(descriptor)
        else:  # whom it was made for has ended
            poll.unregister(descriptor)
            for pid, connection in forks.values():
                if connection.fileno() == descriptor:
                    os.kill(pid, signal.SIGKILL)
    return None


def _call(connection: socket.socket) -> Any:
    """In a fork: become the process that it is made for, and do what it is to do."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: when the server ends
    _, received, _, _ = socket.recv_fds(connection, 1, 100)
    with connection, connection.makefile("rb") as file:
        values = json.loads(file.readline())
    aside = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 200) for descriptor in received]  # out of the way of numbers
    for number in received:
        os.close(number)
    for descriptor, number in zip(aside, values["descriptors"], strict=True):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.environ.clear()
    os.environ.update(values["environment"])
    os.chdir(values["folder"])
    sys.argv = values["arguments"]
    import numpy
    import torch

    numpy.random.seed()  # random itself does so
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    torch.set_num_threads(threads)
    function: Callable[[], Any] = resolve_name(values["function"])
    return function()


if __name__ == "__main__":
    main()
