"""The audit, by the real pip-audit, of a database that a server on loopback stands for."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import audit
import pytest


def flaw(package: str, number: str, alias: str = "CVE-2099-1") -> dict[str, object]:
    """What OSV says of one (https://ossf.github.io/osv-schema)."""
    return {
        "id": number,
        "aliases": [alias],
        "summary": "It falls over.",
        "affected": [
            {
                "package": {"name": package, "ecosystem": "PyPI"},
                "ranges": [{"type": "ECOSYSTEM", "events": [{"fixed": "9.9"}]}],
            }
        ],
    }


class Database(ThreadingHTTPServer):
    """Knows what `flaws` says, by package."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.flaws: dict[str, list[dict[str, object]]] = {
            "jinja2": [flaw("jinja2", "PYSEC-2019-217")]
        }

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1/query"


class _Handler(BaseHTTPRequestHandler):
    server: Database

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        body = json.dumps({"vulns": self.server.flaws.get(asked["package"]["name"], [])}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # its name
        """Say nothing: the output is the test's."""


@pytest.fixture
def database(monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    monkeypatch.setattr(audit, "SERVICES", ("osv",))
    monkeypatch.setattr(audit, "SETS", {"device": "."})
    monkeypatch.setattr(audit, "resolved", lambda _: ["numpy==2.4.6", "protobuf==4.25.5"])
    with Database() as made:
        thread = threading.Thread(target=made.serve_forever, args=(0.05,))
        thread.start()
        yield made
        made.shutdown()
        thread.join()


def run(database: Database, *more: str) -> int:
    return audit.main(["--osv-url", database.url, *more])


def test_nothing_is_found(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(database) == 0
    assert capsys.readouterr().out == "device: 2 packages, 0 found, 0 accepted\n"


def test_what_is_found_is_a_failure(database: Database, capsys: pytest.CaptureFixture[str]) -> None:
    database.flaws["numpy"] = [flaw("numpy", "PYSEC-2099-1")]
    assert run(database) == 1
    assert capsys.readouterr().out == (
        "device: numpy 2.4.6: PYSEC-2099-1, CVE-2099-1; mended in 9.9\n"
        "device: 2 packages, 1 found, 0 accepted\n"
    )


@pytest.mark.parametrize(
    "names", [("GHSA-8qvm-5x2c-j2w7",), ("PYSEC-2099-1", "GHSA-8qvm-5x2c-j2w7")]
)
def test_what_is_accepted_is_counted(
    names: tuple[str, ...], database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    database.flaws["protobuf"] = [flaw("protobuf", *names)]
    assert run(database) == 0
    assert capsys.readouterr().out == "device: 2 packages, 0 found, 1 accepted\n"


@pytest.mark.parametrize(("more", "code"), [((), 0), (("--required",), 1)])
def test_a_database_that_does_not_know_what_every_one_does_is_not_believed(
    more: tuple[str, ...], code: int, database: Database, capsys: pytest.CaptureFixture[str]
) -> None:
    database.flaws.clear()
    assert run(database, *more) == code
    assert capsys.readouterr().out == (
        "osv: not believed: it knows nothing against jinja2==2.4.1\n"
        "NOT AUDITED: no database of vulnerabilities is in reach\n"
    )


@pytest.mark.usefixtures("database")
def test_nor_is_one_that_is_not_there(capsys: pytest.CaptureFixture[str]) -> None:
    assert audit.main(["--osv-url", "http://127.0.0.1:9/v1/query", "--required"]) == 1
    assert "NOT AUDITED" in capsys.readouterr().out
