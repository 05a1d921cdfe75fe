"""pyvo asks a service that works on jobs; the service here is a small one of this machine."""

from __future__ import annotations

import gc
import threading
import warnings
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs

import pytest

from skyduel.core import BadInputError
from skyduel.core.reference import services
from skyduel.core.reference.cones import Cone
from skyduel.core.reference.services import ask_by_pyvo, service_region

JOB = """<?xml version="1.0"?>
<uws:job xmlns:uws="http://www.ivoa.net/xml/UWS/v1.0" xmlns:xlink="http://www.w3.org/1999/xlink"
 version="1.1"><uws:jobId>1</uws:jobId><uws:phase>{phase}</uws:phase>
<uws:executionDuration>0</uws:executionDuration>
<uws:results><uws:result id="result" xlink:href="{url}/async/1/results/result"/></uws:results>
<uws:errorSummary type="fatal" hasDetail="false"><uws:message>no such column</uws:message>
</uws:errorSummary></uws:job>"""
ANSWER = b"""<?xml version="1.0"?><VOTABLE version="1.3" xmlns="http://www.ivoa.net/xml/VOTable/v1.3">
<RESOURCE type="results"><INFO name="QUERY_STATUS" value="OK"/><TABLE>
<FIELD name="ra" datatype="double"/><FIELD name="dec" datatype="double"/>
<DATA><TABLEDATA><TR><TD>1</TD><TD>2</TD></TR></TABLEDATA></DATA></TABLE></RESOURCE></VOTABLE>"""


class Service(HTTPServer):
    """A TAP service with one job; `phases` are those that it goes through, one a look."""

    phases: list[str]
    asked: dict[str, list[str]]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/tap"


class Handler(BaseHTTPRequestHandler):
    """What pyvo calls."""

    server: Service

    def log_message(self, *words: object) -> None:
        """Say nothing."""

    def _send(self, body: bytes, kind: str = "text/xml") -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.asked |= parse_qs(body)
        self.send_response(303)
        self.send_header("Location", f"{self.server.url}/async/1")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        if self.path.endswith("/results/result"):
            self._send(ANSWER)
            return
        phases = self.server.phases
        phase = phases.pop(0) if len(phases) > 1 else phases[0]
        self._send(JOB.format(phase=phase, url=self.server.url).encode())

    def do_DELETE(self) -> None:
        self._send(b"")


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """The service, in a thread."""
    pytest.importorskip("pyvo")
    monkeypatch.setattr(services, "_FIRST_PAUSE_S", 0.01)
    server = Service(("127.0.0.1", 0), Handler)
    server.phases, server.asked = ["PENDING", "EXECUTING", "COMPLETED"], {}
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    with warnings.catch_warnings():  # pyvo leaves answers open that it has read
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def test_a_job_is_asked_and_its_answer_read(service: Service) -> None:
    assert ask_by_pyvo(service.url, "SELECT 1", 50, 10.0) == ANSWER
    assert service.asked["QUERY"] == ["SELECT 1"]
    assert service.asked["MAXREC"] == ["50"]
    assert service.asked["PHASE"] == ["RUN"]


def test_a_refusal_names_the_reason(service: Service) -> None:
    service.phases = ["ERROR"]
    with pytest.raises(BadInputError, match="no such column"):
        service_region("gaia", Cone(1, 2, 3), ask=lambda _, *rest: ask_by_pyvo(service.url, *rest))


def test_a_job_without_end_is_left(service: Service) -> None:
    service.phases = ["EXECUTING"]
    with pytest.raises(BadInputError, match=r"within 0\.05 s .* not finished after 0\.05 s"):
        service_region("gaia", Cone(1, 2, 3), timeout_s=0.05,
                       ask=lambda _, *rest: ask_by_pyvo(service.url, *rest))  # fmt: skip
