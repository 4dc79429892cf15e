"""The hub's web interface in miniature: what its client asks for, answered from a mirror's folder."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def serve(mirror: Path) -> Iterator[tuple[str, list[str]]]:
    """(address, paths asked for so far) of a hub on which every revision is the mirror."""
    asked: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self):
            self._answer(body=True)

        def do_HEAD(self):
            self._answer(body=False)

        def _answer(self, body: bool) -> None:
            path = unquote(self.path.partition("?")[0])
            asked.append(path)
            head, _, rest = path.removeprefix("/api").removeprefix("/datasets/").partition("/resolve/")
            if rest:  # /datasets/<repo>/resolve/<commit>/<file>
                data, kind = (mirror / head / rest.partition("/")[2]).read_bytes(), "application/octet-stream"
            else:  # /api/datasets/<repo>/revision/<revision> or …/tree/<commit>
                repo = "/".join(head.split("/")[:2])
                if not (mirror / repo).is_dir():
                    self.send_response(404)
                    self.send_header("X-Error-Code", "RepoNotFound")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                data, kind = json.dumps(_listing(mirror / repo, repo, "/tree/" in head)).encode(), "application/json"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", COMMIT)
            self.end_headers()
            if body:
                self.wfile.write(data)

        def log_message(self, *arguments) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()


def _listing(folder: Path, repo: str, tree: bool) -> list | dict:
    if not tree:
        return {"id": repo, "sha": COMMIT, "private": False, "tags": [], "downloads": 0, "siblings": []}
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [
        {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": f"{number:040}"}
        for number, path in enumerate(files)
    ]
