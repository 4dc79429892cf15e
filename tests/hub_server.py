"""The hub's web interface in miniature: what its client asks for, answered from a mirror's folder."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import unquote

STATE = {"private": False, "tags": [], "downloads": 0, "siblings": []}


@contextmanager
def serve(mirror: Path) -> Iterator[tuple[str, list[str]]]:
    """(address, paths asked for so far) of a hub on which every commit of a repository is the mirror."""
    requests: list[str] = []

    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = unquote(self.path.partition("?")[0])
            requests.append(path)
            # /datasets/<repo>/resolve/<commit>/<file>, /api/datasets/<repo>/revision/<commit> or …/tree/<commit>
            owner, name, what, commit, *rest = path.removeprefix("/api").removeprefix("/datasets/").split("/")
            repo = f"{owner}/{name}"
            if what == "resolve":
                data, kind = (mirror / repo).joinpath(*rest).read_bytes(), "application/octet-stream"
            else:
                answer = _tree(mirror / repo) if what == "tree" else {"id": repo, "sha": commit, **STATE}
                data, kind = json.dumps(answer).encode(), "application/json"
            self.send_response(200)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(data)))
            self.send_header("ETag", f'"{hashlib.sha1(data).hexdigest()}"')
            self.send_header("X-Repo-Commit", commit)
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(data)

        do_HEAD = do_GET

        def log_message(self, *arguments) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", requests
    finally:
        server.shutdown()
        server.server_close()


def _tree(folder: Path) -> list:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return [
        {"type": "file", "path": str(path.relative_to(folder)), "size": path.stat().st_size, "oid": f"{number:040}"}
        for number, path in enumerate(files)
    ]
