"""A small Hugging Face hub on the loopback interface that misbehaves on demand."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import cast

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class FakeHub:
    """What the server holds, how it behaves, and what it was asked."""

    repo: str = "herd/llama"
    files: dict[str, bytes] = field(default_factory=dict)
    listed_sha256: dict[str, str] = field(default_factory=dict)  # instead of the truth
    raw_listing: bytes | None = None  # instead of the listing
    statuses: list[int] = field(default_factory=list)  # answered first, one a request
    cuts: list[int] = field(default_factory=list)  # bytes of body after which a file's connection drops
    silent_s: float = 0.0
    ranges: bool = True
    etag: str | None = None  # instead of the file's own
    cdn: FakeHub | None = None  # files are redirected there
    loop: bool = False
    requests: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    address: str = ""

    def listing(self) -> dict[str, object]:
        """Return what the hub's API says of the repository."""
        return {
            "sha": COMMIT,
            "tags": ["license:mit"],
            "siblings": [self._entry(name) for name in self.files],
        }

    def _entry(self, name: str) -> dict[str, object]:
        content = self.files[name]
        entry: dict[str, object] = {"rfilename": name, "size": len(content)}
        if name.endswith((".gguf", ".safetensors")):
            sha256 = self.listed_sha256.get(name, hashlib.sha256(content).hexdigest())
            return {**entry, "blobId": "0" * 40, "lfs": {"sha256": sha256, "size": len(content)}}
        return {**entry, "blobId": hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()}

    def ranges_asked(self) -> list[str | None]:
        """Return the Range header of each request for a file."""
        return [headers.get("Range") for path, headers in self.requests if "/resolve/" in path]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    @property
    def hub(self) -> FakeHub:
        return cast("_Server", self.server).hub

    def do_GET(self) -> None:
        hub = self.hub
        hub.requests.append((self.path, dict(self.headers)))
        if hub.silent_s:
            time.sleep(hub.silent_s)
        if hub.statuses:
            self._answer(hub.statuses.pop(0), b"trouble")
        elif self.path.startswith("/api/models/"):
            known = self.path.startswith(f"/api/models/{hub.repo}/revision/main")
            self._answer(200 if known else 404, hub.raw_listing or json.dumps(hub.listing()).encode())
        elif hub.loop or hub.cdn:
            self._redirect(self.path if hub.cdn is None else hub.cdn.address + self.path)
        else:
            self._file(self.path.split(f"/resolve/{COMMIT}/")[-1])

    def _redirect(self, target: str) -> None:
        self.send_response(302)
        self.send_header("Location", target)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _file(self, name: str) -> None:
        content = self.hub.files.get(name)
        if content is None:
            self._answer(404, b"")
            return
        etag = self.hub.etag or f'"{hashlib.md5(content).hexdigest()}"'
        start = self._start(etag)
        if start >= len(content) > 0:
            self._answer(416, b"")
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self._send(content[start:])

    def _start(self, etag: str) -> int:
        asked = self.headers.get("Range")
        same = self.headers.get("If-Range", etag) == etag
        return int(asked.removeprefix("bytes=").rstrip("-")) if asked and same and self.hub.ranges else 0

    def _send(self, body: bytes) -> None:
        if self.hub.cuts:
            self.wfile.write(body[: self.hub.cuts.pop(0)])
            self.close_connection = True
        else:
            self.wfile.write(body)

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, hub: FakeHub) -> None:
        self.hub = hub
        super().__init__(("127.0.0.1", 0), _Handler)

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of clients that hang up: that is what is tested."""


@contextmanager
def served(hub: FakeHub) -> Iterator[FakeHub]:
    """Serve the hub for the duration of the block."""
    server = _Server(hub)
    hub.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
