"""State of a watch by HTTP, for programs on this computer."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from skyduel.core.errors import ArgumentError
from skyduel.runner.watch.meters import Snapshot

__all__ = ["serve_status"]


@contextmanager
def serve_status(port: int, state: Callable[[], Snapshot]) -> Iterator[int]:
    """Answer on 127.0.0.1: ``/status`` as JSON, ``/metrics`` as text for Prometheus.

    Parameters
    ----------
    port : int
        The port; 0 for any free one.
    state : callable
        Returns the state; it is called in other threads.

    Yields
    ------
    int
        The port.

    Raises
    ------
    BadInputError
        If the port cannot be used.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = self.path.partition("?")[0]
            if page == "/status":
                kind, body = "application/json", (json.dumps(asdict(state())) + "\n").encode()
            elif page == "/metrics":
                kind, body = "text/plain; version=0.0.4", state().metrics().encode()
            else:
                self.send_error(404, "there are /status and /metrics")
                return
            self.send_response(200)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Log nothing."""

    try:
        server = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ArgumentError("port", "a free port", f"{port}: {reason}") from error
    server.daemon_threads = True
    thread = threading.Thread(
        target=server.serve_forever, kwargs={"poll_interval": 0.2}, daemon=True
    )
    thread.start()
    try:
        yield int(server.server_address[1])
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
