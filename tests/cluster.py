"""A Slurm cluster of two nodes on this host, for tests: its own configuration, keys and ports, nothing shared."""

import os
import random
import shutil
import signal
import socket
import subprocess
import time
from contextlib import contextmanager, suppress
from pathlib import Path

DAEMONS = ("munged", "slurmctld", "slurmd")
NODES = ("node1", "node2")


def missing() -> str:
    """Why there can be no cluster here; "" where there can."""
    absent = [name for name in DAEMONS if not shutil.which(name)]
    return f"Slurm is not installed here: no {', '.join(absent)}" if absent else ""


def free_ports(count: int) -> list[int]:
    """Ports that are free now, below those that the system gives to others in the meantime."""
    ports: set[int] = set()
    while len(ports) < count:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as listener, suppress(OSError):
            listener.bind(("127.0.0.1", port))
            ports.add(port)
    return list(ports)


class Cluster:
    """Daemons below ``folder``; every command that runs with ``environment`` speaks to them."""

    def __init__(self, folder: Path):
        self.folder, self.processes = folder, {}
        path = f"{folder}/bin:{os.environ['PATH']}"
        self.environment = os.environ | {"SLURM_CONF": str(folder / "slurm.conf"), "PATH": path}
        ports = free_ports(3)
        host, user = socket.gethostname().split(".")[0], subprocess.getoutput("id -un")
        lines = [
            "ClusterName=test", f"SlurmctldHost={host}(127.0.0.1)", f"SlurmUser={user}", f"SlurmdUser={user}",
            f"SlurmctldPort={ports[0]}", "AuthType=auth/munge", f"AuthInfo=socket={folder}/munge.socket,cred_expire=10",
            "ProctrackType=proctrack/linuxproc", "TaskPlugin=task/none", "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core", "JobAcctGatherType=jobacct_gather/none", "MpiDefault=none",
            "AccountingStorageType=accounting_storage/none", "MinJobAge=3600", "ReturnToService=2",
            "SchedulerParameters=bf_interval=1",
            f"StateSaveLocation={folder}/state", f"SlurmdSpoolDir={folder}/%n",
            f"SlurmctldPidFile={folder}/slurmctld.pid", f"SlurmdPidFile={folder}/%n.pid",
            f"SlurmctldLogFile={folder}/slurmctld.log", f"SlurmdLogFile={folder}/%n.log",
            *(f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=2 RealMemory=8000"
              for name, port in zip(NODES, ports[1:], strict=True)),
            "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP",
        ]  # fmt: skip
        (folder / "slurm.conf").write_text("\n".join(lines) + "\n")
        for name in ("state", "bin", *NODES):
            (folder / name).mkdir()
        srun = folder / "bin" / "srun"  # Snakemake takes SLURM_CONF from the environment of the steps it starts
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={folder}/slurm.conf exec {shutil.which("srun")} "$@"\n')
        srun.chmod(0o755)
        (folder / "munge.key").write_bytes(os.urandom(1024))
        (folder / "munge.key").chmod(0o600)

    def start(self) -> None:
        files = {"socket": "munge.socket", "key-file": "munge.key", "pid-file": "munged.pid"}
        files |= {"log-file": "munged.log", "seed-file": "munged.seed"}
        options = [f"--{option}={self.folder}/{file}" for option, file in files.items()]
        self._start("munged", "munged", "--foreground", "--force", *options)
        self._until((self.folder / "munge.socket").exists)
        self._start("slurmctld", "slurmctld", "-D")
        for name in NODES:
            self._start(name, "slurmd", "-D", "-N", name)
        self._until(lambda: self("sinfo", "-h", "-o", "%T %D").strip() == "idle 2")

    def _start(self, name: str, *command: str) -> None:
        with open(self.folder / f"{name}.out", "w") as out:
            self.processes[name] = subprocess.Popen(
                command, env=self.environment, stdout=out, stderr=out, start_new_session=True
            )

    def _until(self, condition, seconds: float = 300) -> None:
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = [path.read_text(errors="replace")[-500:] for path in sorted(self.folder.glob("*.out"))]
                raise TimeoutError("\n".join(logs))
            time.sleep(0.2)

    def __call__(self, *command: str) -> str:
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False).stdout

    def jobs(self) -> list[tuple[str, str]]:
        """(state, node) of every job so far."""
        lines = self("squeue", "--states=all", "--noheader", "--format=%T|%N").split()
        return [tuple(line.split("|")) for line in lines]

    def lose(self, name: str) -> None:
        """Take a node down as a power cut does: its daemon, the steps it runs and all their processes. Slurm is told,
        as it waits for a silent node for minutes."""
        daemon = self.processes.pop(name)
        daemon.kill()
        daemon.wait()
        for process in self.at_work(name):
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        self("scontrol", "update", f"nodename={name}", "state=down", "reason=power cut")

    def at_work(self, name: str) -> list[int]:
        """Processes whose environment says that Slurm started them on the node; first those that started them and
        would report their end."""
        jobs, steps = [], set()
        for path in Path("/proc").glob("[0-9]*"):
            with suppress(OSError):
                words = (path / "environ").read_bytes().split(b"\0")
                if {f"SLURMD_NODENAME={name}".encode(), f"SLURM_CONF={self.folder}/slurm.conf".encode()} <= set(words):
                    jobs.append(int(path.name))
                    parent = Path("/proc") / (path / "stat").read_text().rsplit(")", 1)[1].split()[1]
                    if (parent / "comm").read_text().startswith("slurmstepd"):
                        steps.add(int(parent.name))
        return [*steps, *jobs]

    def stop(self) -> None:
        self("scancel", "--state=RUNNING,PENDING", f"--user={subprocess.getoutput('id -un')}")
        for process in reversed(self.processes.values()):
            os.killpg(process.pid, signal.SIGTERM)
        for process in self.processes.values():
            try:
                process.wait(timeout=10)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)


@contextmanager
def cluster(folder: Path):
    """A running cluster; its daemons end with the block."""
    daemons = Cluster(folder)
    try:
        daemons.start()
        yield daemons
    finally:
        daemons.stop()
