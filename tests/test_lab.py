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


def asked(server, path, method="GET"):
    _, address, token = server
    request = urllib.request.Request(
        f"http://{address}/{path}", method=method, headers={"Authorization": f"token {token}"}
    )
    with urllib.request.urlopen(request, timeout=600) as reply:
        return json.loads(reply.read() or "null")


def test_lab_has_a_kernel_with_everything(server):
    process, address, token = server
    specs = {}
    while not specs:
        assert process.poll() is None, "the server ended"
        with suppress(OSError):
            specs = asked(server, "api/kernelspecs")
        time.sleep(0.1)
    assert "python3" in specs["kernelspecs"]
    assert "9-your-task.ipynb" in [entry["name"] for entry in asked(server, "api/contents")["content"]]
    kernel = asked(server, "api/kernels", "POST")["id"]
    channels = websocket.create_connection(f"ws://{address}/api/kernels/{kernel}/channels?token={token}", timeout=600)
    code = "import matplotlib, papermill, torch, transformers, xstilts.phases; print(xstilts.__file__)"
    header = {
        "msg_id": "one",
        "msg_type": "execute_request",
        "username": "",
        "session": "s",
        "version": "5.3",
        "date": "",
    }
    content = {"code": code, "silent": False, "store_history": False, "user_expressions": {}, "allow_stdin": False}
    channels.send(
        json.dumps({"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"})
    )
    said = []
    while not said or said[-1]["msg_type"] != "execute_reply":
        said.append(json.loads(channels.recv()))
    channels.close()
    assert said[-1]["content"]["status"] == "ok", said[-1]
    printed = "".join(one["content"]["text"] for one in said if one["msg_type"] == "stream")
    assert str(ROOT / "lib") in printed
    asked(server, f"api/kernels/{kernel}", "DELETE")
