"""Hostile scripts: none reads, writes or signals what is not its own, and none takes the machine down.

The tests bring their own targets: a home with a key, another process with a
key in its environment and its command line, services on loopback, a socket
file.  Every candidate also runs under outer limits on memory, files and time that the
sandbox did not set, so that a wall that fails costs a test and not the machine.
"""

from __future__ import annotations

import ast
import os
import re
import resource
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from agent.sandbox import CandidateFailure, Limits, Nursery, Process, account, landlock, seccomp
from engines.workload import Workload

SCRIPTS = sorted((Path(__file__).parent / "hostile").glob("*.py"))
QUICK = {
    "read_a_key", "follow_a_link", "read_password_hashes", "write_outside", "change_the_program",
    "kill_another", "kill_the_parent", "trace_another", "read_anothers_environment", "open_by_handle",
    "become_root", "connect",
    "send_a_datagram", "connect_to_a_socket_file", "io_uring", "fork_bomb", "memory_bomb_in_an_orphan",
    "disk_bomb", "endless_output", "stay_behind", "read_kernel_memory", "new_namespaces",
}  # fmt: skip
"""What the default suite tries: one or two of each kind."""
LIMITS = Limits(
    memory=600, load_seconds=3, generate_seconds=3, output=4, file=8, processes=40, disk=64, entries=3000
)
GOOD = """
import numpy as np
def load(model, device, workload):
    return None
def generate(pipeline, prompts, seeds):
    return np.full((len(prompts), 8, 8, 3), 9, np.uint8)
"""


@dataclass
class Targets:
    """What must not be touched."""

    home: Path
    model: Path
    secret: str
    victim: subprocess.Popen[bytes]
    tcp: socket.socket
    udp: socket.socket
    unix: socket.socket
    abstract: socket.socket
    heard: list[str] = field(default_factory=list)

    @property
    def key(self) -> Path:
        return self.home / ".ssh" / "id_canary"

    def fill(self, source: str) -> str:
        values = {
            "KEY": self.key, "HOME": self.home, "MODEL": self.model, "PID": self.victim.pid,
            "JUDGE": os.getpid(), "PORT": self.tcp.getsockname()[1], "UDP": self.udp.getsockname()[1],
            "SOCKET": self.home / "service.sock", "ABSTRACT": self.abstract.getsockname()[1:].decode(),
        }  # fmt: skip
        for name, value in values.items():
            source = source.replace(f"@{name}@", str(value))
        return source

    def touched(self) -> str:
        """What a script has got at; empty where it has not."""
        if self.victim.poll() is not None or psutil.Process(self.victim.pid).status() == "stopped":
            return "the other process"
        if psutil.Process(self.victim.pid).nice() != os.nice(0):
            return "the other process's priority"
        if not self.key.is_file() or self.key.read_text() != self.secret:
            return "the key"
        if self.key.stat().st_mode & 0o777 != 0o600 or self.key.stat().st_uid != os.getuid():
            return "the key's permissions"
        if sorted(path.name for path in self.home.iterdir()) != [".ssh", "service.sock"]:
            return "the home"
        if any(Path(__file__).parents[2].glob("engines/planted*")) or any(Path("/dev/shm").glob("planted*")):
            return "a shared folder"
        return f"the network: {self.heard}" if self.heard else ""


def _listen(targets: Targets) -> None:
    """Services that remember whoever comes."""

    def accept(service: socket.socket, name: str) -> None:
        with suppress(OSError):
            while True:
                service.accept()[0].close()
                targets.heard.append(name)

    def receive() -> None:
        with suppress(OSError):
            while True:
                targets.udp.recv(100)
                targets.heard.append("udp")

    for service, name in (
        (targets.tcp, "tcp"),
        (targets.unix, "socket file"),
        (targets.abstract, "abstract"),
    ):
        threading.Thread(target=accept, args=(service, name), daemon=True).start()
    threading.Thread(target=receive, daemon=True).start()


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    home = Path("/tmp") / f"home-{secrets.token_hex(4)}"  # short enough for a socket's name
    (home / ".ssh").mkdir(parents=True)
    secret = f"canary {secrets.token_hex(8)}"
    (home / ".ssh" / "id_canary").write_text(secret)
    (home / ".ssh" / "id_canary").chmod(0o600)
    model = tmp_path_factory.mktemp("model")
    (model / "unet").mkdir()
    (model / "unet" / "config.json").write_text("{}")
    victim = subprocess.Popen(
        [sys.executable, "-c", "import time; time.sleep(3600)", secret], env={"API_KEY": secret}
    )
    unix, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    unix.bind(str(home / "service.sock"))
    (home / "service.sock").chmod(0o777)
    abstract.bind(f"\0pareto-{secrets.token_hex(4)}")
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    made = Targets(home, model, secret, victim, socket.create_server(("127.0.0.1", 0)), udp, unix, abstract)
    unix.listen()
    abstract.listen()
    _listen(made)
    yield made
    victim.kill()
    victim.wait()
    for service in (made.tcp, made.udp, made.unix, made.abstract):
        with suppress(OSError):
            service.shutdown(socket.SHUT_RDWR)
        service.close()
    shutil.rmtree(home)


@pytest.fixture(scope="module")
def nursery(targets: Targets) -> Iterator[Nursery]:
    if not landlock.version() or not seccomp.available() or os.getuid() != 0:
        pytest.skip("this machine cannot wall a candidate off from a user who is not root here")
    with Nursery(
        LIMITS, readable=[targets.model], method="fork", preloaded=("numpy", "engines.harness")
    ) as made:
        made.start().close()  # the server answers: outer limits go to it, and to whatever comes from it
        server = made._source._server.pid  # type: ignore[union-attr]
        resource.prlimit(server, resource.RLIMIT_AS, (3 << 30, 3 << 30))
        resource.prlimit(server, resource.RLIMIT_FSIZE, (64 << 20, 64 << 20))
        resource.prlimit(server, resource.RLIMIT_NPROC, (200, 200))
        resource.prlimit(server, resource.RLIMIT_CPU, (300, 300))
        yield made


def attempt(nursery: Nursery, targets: Targets, source: str) -> tuple[str, Process]:
    """Run a script to its end; what is said of it, empty where it has answered, and its closed process."""
    process = nursery.start()
    try:
        assert process.isolation == "isolated"
        script = process.folder / "candidate.py"
        script.write_text(targets.fill(source))
        process.load(script, str(targets.model), "cpu", Workload())
        process.generate(["a red ball"], [1])
    except CandidateFailure as failure:
        return f"{failure} {failure.evidence}", process
    finally:
        process.close()
        nursery.sweep()
    return "", process


def cases() -> list[object]:
    return [
        pytest.param(path, id=path.stem, marks=[] if path.stem in QUICK else [pytest.mark.slow])
        for path in SCRIPTS
    ]


def alive(user: int) -> list[int]:
    """A user's processes; what is dead is listed until its parent, the server, looks after it again."""
    found = []
    for pid in account.processes(user):
        with suppress(psutil.Error):
            if psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


@pytest.mark.parametrize("path", cases())
def test_a_hostile_script_is_contained(nursery: Nursery, targets: Targets, path: Path) -> None:
    source = path.read_text()
    started = time.monotonic()
    said, process = attempt(nursery, targets, source)
    assert "BREACH" not in said.replace('"BREACH', ""), said
    assert targets.secret not in said
    assert targets.touched() == ""
    _, _, wanted = (ast.get_docstring(ast.parse(source)) or "").partition("Said: ")
    if wanted:
        assert re.search(wanted, said), said
    assert time.monotonic() - started < 40
    assert process.peak < 3 * LIMITS.memory  # forked processes count what they share once each
    assert not process.folder.exists()
    until = time.monotonic() + 5
    while alive(account.number(process.pid)) and time.monotonic() < until:
        time.sleep(0.02)
    assert alive(account.number(process.pid)) == [], "processes are left behind"
    assert attempt(nursery, targets, GOOD)[0] == "", "the next candidate is harmed"


def test_there_are_enough_hostile_scripts_and_each_says_what_it_does() -> None:
    assert len(SCRIPTS) >= 40
    assert {path.stem for path in SCRIPTS} >= QUICK
    assert all(ast.get_docstring(ast.parse(path.read_text())) for path in SCRIPTS)


def test_the_targets_can_be_reached_without_walls(targets: Targets, tmp_path: Path) -> None:
    """Else being contained would prove nothing."""
    assert targets.key.read_text() == targets.secret
    assert targets.secret in Path(f"/proc/{targets.victim.pid}/environ").read_text()
    socket.create_connection(targets.tcp.getsockname(), 2).close()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x", targets.udp.getsockname())
    for _ in range(50):
        if {"tcp", "udp"} <= set(targets.heard):
            break
        time.sleep(0.02)
    assert {"tcp", "udp"} <= set(targets.heard)
    targets.heard.clear()
