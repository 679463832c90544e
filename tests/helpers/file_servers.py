"""Servers that a test starts: files over HTTP in ranges, with failures on demand."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles


@dataclass
class Trouble:
    """An ASGI wrapper that fails some requests, and counts all.

    Attributes:
        every: of how many requests one fails; 0: none.
        how: "503" answers busy; "drop" breaks off in the middle of the body.
        always: part of a path whose requests all fail.
        once: what failed is answered when it is asked for again. A fixed rhythm can hit the same request of each further
            try for ever, as no server does.
    """

    app: Any
    every: int = 0
    how: str = "503"
    always: str = ""
    once: bool = False
    requests: int = 0
    failed: int = 0
    ranged: int = 0
    bytes_sent: int = 0
    _seen: set[Any] = field(default_factory=set)
    _lock: Any = field(default_factory=threading.Lock)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        with self._lock:
            self.requests += 1
            self.ranged += any(name == b"range" for name, _ in scope["headers"])
            bad = bool(self.every and self.requests % self.every == 0)
            asked = (scope["method"], scope["path"], dict(scope["headers"]).get(b"range"))
            if bad and self.once:
                bad = asked not in self._seen
                self._seen.add(asked)
            bad = bad or bool(self.always and self.always in scope["path"])
            self.failed += bad
        if bad and self.how == "503":
            await send({"type": "http.response.start", "status": 503, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return

        async def count(message: Any) -> None:
            body = message.get("body", b"")
            if bad and message["type"] == "http.response.body" and body:
                # Fewer bytes than the head has promised; then the connection goes.
                await send({"type": "http.response.body", "body": body[: len(body) // 2], "more_body": True})
                raise ConnectionResetError("dropped on purpose")
            self.bytes_sent += len(body)
            await send(message)

        await self.app(scope, receive, count)

    def reset(self, every: int = 0, how: str = "503", always: str = "", *, once: bool = False) -> None:
        """Count from 0, and fail so."""
        self.every, self.how, self.always, self.once = every, how, always, once
        self._seen.clear()
        self.requests = self.failed = self.ranged = self.bytes_sent = 0


@contextlib.contextmanager
def file_server(folder: Path) -> Iterator[tuple[str, Trouble]]:
    """Address of a folder, and what may go wrong with it."""
    app = Trouble(Starlette(routes=[Mount("/", StaticFiles(directory=folder))]))
    server = uvicorn.Server(
        uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws="none")
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 30
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    assert server.started, "the file server did not start"
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}", app
    finally:
        server.should_exit = True
        thread.join(30)
