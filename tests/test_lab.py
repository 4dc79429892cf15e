"""`make lab`: the server comes up in this environment, with its kernel and the notebooks."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import suppress
from pathlib import Path

from cluster import free_ports
from xstilts.io import ROOT


def test_lab_serves_the_notebooks_and_this_environments_kernel(tmp_path):
    (port,), token = free_ports(1), uuid.uuid4().hex
    given = f"--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --IdentityProvider.token={token}"
    command = ["make", "lab", f"ENV={sys.prefix}", "STAMP=pyproject.toml", f"ARGS={given}"]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "HOME": str(tmp_path)}, stdout=log, stderr=log, start_new_session=True
    )

    def ask(path):
        url = f"http://127.0.0.1:{port}/api/{path}"
        request = urllib.request.Request(url, headers={"Authorization": f"token {token}"})
        with urllib.request.urlopen(request, timeout=600) as reply:
            return json.loads(reply.read())

    try:
        specs = {}
        while not specs:
            assert process.poll() is None, "the server ended"
            with suppress(OSError):
                specs = ask("kernelspecs")["kernelspecs"]
            time.sleep(0.1)
        assert Path(specs["python3"]["spec"]["argv"][0]).parent == Path(sys.executable).parent
        assert "9-your-task.ipynb" in [entry["name"] for entry in ask("contents")["content"]]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
