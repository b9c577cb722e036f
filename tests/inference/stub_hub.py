"""A small server that answers the Hugging Face Hub's client: it stores commits and serves their files."""

import base64
import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"
REPOSITORY = "owner/name"


class StubHub(BaseHTTPRequestHandler):
    """One repository with one commit; `files` holds its content by path, `tokens` who wrote to it."""

    files: dict[str, bytes]
    tokens: set[str]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "/commit/" in self.path:
            lines = [json.loads(line) for line in body.splitlines()]
            for line in lines:
                if line["key"] == "file":
                    self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            self.tokens.add(self.headers["Authorization"])
            url = f"http://{self.headers['Host']}/{REPOSITORY}/commit/{COMMIT}"
            self.answer({"success": True, "commitOid": COMMIT, "commitUrl": url})
        elif "/preupload/" in self.path:
            paths = [file["path"] for file in json.loads(body)["files"]]
            modes = [{"path": path, "uploadMode": "regular", "shouldIgnore": False} for path in paths]
            self.answer({"files": modes})
        elif self.path == "/api/repos/create":
            self.answer({"url": f"http://{self.headers['Host']}/{REPOSITORY}", "id": REPOSITORY})
        else:
            assert self.path == "/api/validate-yaml", self.path
            self.answer({"errors": [], "warnings": []})

    def do_GET(self) -> None:
        if f"/{REPOSITORY}/resolve/{COMMIT}/" in self.path:
            self.send_file(self.path.rsplit("/", 1)[1])
        elif f"{REPOSITORY}/tree/" in self.path:
            sizes = {path: len(content) for path, content in self.files.items()}
            self.answer(
                [
                    {"type": "file", "path": path, "size": size, "oid": f"{size:040x}"}
                    for path, size in sizes.items()
                ]
            )
        elif REPOSITORY in self.path and self.path.endswith(("/main", REPOSITORY)):
            names = [{"rfilename": path} for path in self.files]
            self.answer({"id": REPOSITORY, "sha": COMMIT, "siblings": names})
        else:
            known = REPOSITORY in self.path
            self.answer({}, 404, "RevisionNotFound" if known else "RepoNotFound")

    do_HEAD = do_GET  # noqa: N815

    def send_file(self, name: str) -> None:
        content = self.files[name]
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end(content)

    def answer(self, content: object, status: int = 200, error: str | None = None) -> None:
        self.send_response(status)
        if error is not None:
            self.send_header("X-Error-Code", error)
        self.end(json.dumps(content).encode())

    def end(self, content: bytes) -> None:
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, *arguments: object) -> None:
        """Print nothing."""


@contextmanager
def serve(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve HTTP requests on a free port; yield the URL."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
