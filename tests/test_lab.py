"""`make lab`: the server comes up, and its kernel imports what the notebooks do."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
import uuid
from contextlib import suppress

import pytest
import websocket
from jupyter_client.session import Session

from cluster import free_ports
from xstilts.io import ROOT


@pytest.fixture
def server(tmp_path):
    """(process, address, token) of a JupyterLab that make started, in this environment."""
    (port,) = free_ports(1)
    token = uuid.uuid4().hex
    given = f"--no-browser --ip=127.0.0.1 --port={port} --ServerApp.port_retries=0 --IdentityProvider.token={token}"
    command = ["make", "lab", f"ENV={sys.prefix}", "STAMP=pyproject.toml", f"ARGS={given}"]
    log = (tmp_path / "log").open("w")
    process = subprocess.Popen(
        command, cwd=ROOT, env={**os.environ, "HOME": str(tmp_path)}, stdout=log, stderr=log, start_new_session=True
    )
    try:
        yield process, f"127.0.0.1:{port}", token
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def ask(server, path, method="GET"):
    _, address, token = server
    headers = {"Authorization": f"token {token}"}
    request = urllib.request.Request(f"http://{address}/{path}", method=method, headers=headers)
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.loads(reply.read() or "null")


def test_lab_has_a_kernel_with_everything(server):
    process, address, token = server
    specs = {}
    while not specs:
        assert process.poll() is None, "the server ended"
        with suppress(OSError):
            specs = ask(server, "api/kernelspecs")
        time.sleep(0.1)
    assert "python3" in specs["kernelspecs"]
    assert "9-your-task.ipynb" in [entry["name"] for entry in ask(server, "api/contents")["content"]]
    kernel = ask(server, "api/kernels", "POST")["id"]
    channels = websocket.create_connection(f"ws://{address}/api/kernels/{kernel}/channels?token={token}", timeout=600)
    code = "import matplotlib, papermill, xstilts; print(xstilts.__file__)"
    message = Session().msg("execute_request", {"code": code, "silent": False}) | {"channel": "shell"}
    channels.send(json.dumps(message, default=str))
    replies = []
    while not replies or replies[-1]["msg_type"] != "execute_reply":
        replies.append(json.loads(channels.recv()))
    channels.close()
    assert replies[-1]["content"]["status"] == "ok", replies[-1]
    printed = "".join(reply["content"]["text"] for reply in replies if reply["msg_type"] == "stream")
    assert str(ROOT / "lib") in printed
    ask(server, f"api/kernels/{kernel}", "DELETE")
