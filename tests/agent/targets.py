"""What hostile scripts must not touch: a home with a key, another process with one, services on loopback."""

from __future__ import annotations

import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil


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


@contextmanager
def planted(model: Path) -> Iterator[Targets]:
    """Targets that are there as long as the block, with something like a model in the folder `model`."""
    home = Path("/tmp") / f"home-{secrets.token_hex(4)}"  # short enough for a socket's name
    (home / ".ssh").mkdir(parents=True)
    secret = f"canary {secrets.token_hex(8)}"
    (home / ".ssh" / "id_canary").write_text(secret)
    (home / ".ssh" / "id_canary").chmod(0o600)
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
    try:
        yield made
    finally:
        _taken_away(made)


def _taken_away(made: Targets) -> None:
    made.victim.kill()
    made.victim.wait()
    for service in (made.tcp, made.udp, made.unix, made.abstract):
        with suppress(OSError):
            service.shutdown(socket.SHUT_RDWR)
        service.close()
    shutil.rmtree(made.home)
