"""Setting up over a network that cuts and a proxy that refuses: a real server on loopback."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from studio.errors import SetupError
from studio.setup import environment, make
from tests.packaging.tiny_bundle import Parts


class Index(ThreadingHTTPServer):
    """A package index over a wheelhouse; `cuts` says how often a wheel's download breaks in the middle."""

    daemon_threads = True

    def __init__(self, wheels: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.wheels = wheels
        self.cuts: Counter[str] = Counter()
        self.served: Counter[str] = Counter()
        self.lets_through = False
        """Whether it answers as a proxy for the package index; other hosts it never does."""

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Answers(BaseHTTPRequestHandler):
    """Simple pages, wheels, and as a proxy: 407, or the same for whoever asks through it."""

    server: Index

    def do_CONNECT(self) -> None:
        if self.server.lets_through:
            self.send_error(403, "Not one of the allowed hosts")
        else:
            self.send_error(407, "Proxy Authentication Required")

    def do_GET(self) -> None:
        if self.path.startswith("http") and not self.server.lets_through:
            self.send_error(407, "Proxy Authentication Required")
            return
        part = self.path.strip("/").split("/")[-1]
        if part.endswith(".whl"):
            self._wheel(part)
            return
        names = [path.name for path in self.server.wheels.glob(f"{part.replace('-', '_')}-*.whl")]
        page = "".join(f'<a href="/files/{name}">{name}</a>' for name in names).encode()
        self.send_response(200 if names else 404)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(page)))
        self.end_headers()
        self.wfile.write(page)

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.send_header(
            "Content-Length", str((self.server.wheels / self.path.split("/")[-1]).stat().st_size)
        )
        self.end_headers()

    def _wheel(self, name: str) -> None:
        content = (self.server.wheels / name).read_bytes()
        key = name.split("-")[0]
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if self.server.cuts[key] > 0:
            self.server.cuts[key] -= 1
            self.wfile.write(content[: len(content) // 2])
            self.wfile.flush()
            self.connection.close()
            return
        self.server.served[key] += 1
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        return


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    return Parts(tmp_path)


@pytest.fixture
def index(parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Iterator[Index]:
    parts.bundle()
    server = Index(parts.wheelhouse)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    for name in (
        "HTTP_PROXY",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "http_proxy",
        "https_proxy",
        "all_proxy",
        "NO_PROXY",
    ):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("UV_DEFAULT_INDEX", f"{server.address}/simple")
    monkeypatch.setenv("UV_HTTP_RETRIES", "0")
    monkeypatch.setattr(make, "PAUSE", 0.05)
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def test_a_download_that_is_cut_once_is_taken_up_again(parts: Parts, index: Index) -> None:
    index.cuts["helper"] = 1
    bundle = parts.bundle()
    assert parts.setup(bundle, network=True).run().condition == "ready"
    assert "The connection was cut; try 2 of 3." in parts.said
    # PyTorch's own index has no such build or does not answer here: the lock's hashes decide.
    assert any("general build" in line for line in parts.said)


@pytest.mark.slow
def test_a_network_that_stays_cut_is_said_and_later_goes_on_where_it_stopped(
    parts: Parts, index: Index
) -> None:
    index.cuts["torch"] = 99
    bundle = parts.bundle()
    with pytest.raises(SetupError, match="The connection was cut; try again: it goes on where it stopped"):
        parts.setup(bundle, network=True).run()
    assert environment.state(parts.home, bundle).condition == "unfinished"
    assert index.served["helper"] == 1
    index.cuts.clear()
    assert parts.setup(bundle, network=True).run().condition == "ready"
    assert index.served["helper"] == 1


def test_a_proxy_that_wants_a_password_is_named(
    parts: Parts, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://packages.invalid/simple")
    bundle = parts.bundle()
    with pytest.raises(SetupError, match=r"proxy did not let the download through; .*name and password"):
        parts.setup(bundle, network=True, proxy=index.address).run()


def test_the_proxy_of_the_system_is_used_and_one_that_lets_only_the_index_through_suffices(
    parts: Parts, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    index.lets_through = True
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://packages.invalid/simple")
    monkeypatch.setenv("HTTP_PROXY", index.address)
    monkeypatch.setenv("HTTPS_PROXY", index.address)
    assert parts.setup(parts.bundle(), network=True).run().condition == "ready"
    assert index.served["helper"] == 1
    assert any("general build" in line for line in parts.said)


def test_a_proxy_that_is_not_there_is_named_without_what_it_was_given(
    parts: Parts, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://packages.invalid/simple")
    with pytest.raises(SetupError, match="If that goes on, check the proxy that is set here") as caught:
        parts.setup(parts.bundle(), network=True, proxy="http://me:geheim@127.0.0.1:9").run()
    assert "geheim" not in str(caught.value)


def test_no_network_at_all_offers_the_folder(
    parts: Parts, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    bundle = parts.bundle()
    with pytest.raises(SetupError, match="Without a network, set up from a folder"):
        parts.setup(bundle, network=True).run()
