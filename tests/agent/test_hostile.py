"""Hostile scripts: none reads, writes or signals what is not its own, and none takes the machine down.

The tests bring their own targets: a home with a key, another process with a
key in its environment and its command line, services on loopback, a socket
file (`targets.py`).  Whoever runs the tests is whom the walls are tried as; root
tries them as nobody too, where no user of its own stands between a candidate
and its user's files.  Every candidate also runs under outer limits on memory, files and time that the
sandbox did not set, so that a wall that fails costs a test and not the machine.
"""

from __future__ import annotations

import ast
import os
import re
import resource
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from agent.sandbox import CandidateFailure, Limits, Nursery, Process, account, landlock, seccomp
from engines.workload import Workload
from tests.agent import nobody
from tests.agent.targets import Targets, planted

SCRIPTS = sorted((Path(__file__).parent / "hostile").glob("*.py"))
QUICK = {
    "read_a_key", "follow_a_link", "read_password_hashes", "write_outside", "change_the_program",
    "kill_another", "kill_the_parent", "trace_another", "read_anothers_environment", "open_by_handle",
    "become_root", "connect",
    "send_a_datagram", "connect_to_a_socket_file", "io_uring", "fork_bomb", "memory_bomb_in_an_orphan",
    "disk_bomb", "endless_output", "stay_behind", "read_kernel_memory", "new_namespaces",
}  # fmt: skip
"""What the default suite tries: one or two of each kind."""
AS_NOBODY = (
    "read_a_key", "kill_another", "read_anothers_environment", "connect", "become_root", "stay_behind"
)  # fmt: skip
"""What it tries as another user than root."""
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


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Targets]:
    with planted(tmp_path_factory.mktemp("model")) as made:
        yield made


@pytest.fixture(scope="module")
def nursery(targets: Targets) -> Iterator[Nursery]:
    if not landlock.version() or not seccomp.available():
        pytest.skip("this machine has neither Landlock nor seccomp")
    with Nursery(
        LIMITS, readable=[targets.model], method="fork", preloaded=("numpy", "engines.harness")
    ) as made:
        made.start().close()  # the server answers: outer limits go to it, and to whatever comes from it
        server = server_of(made)
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


def server_of(nursery: Nursery) -> int:
    return nursery._source._server.pid  # type: ignore[union-attr]


def left(nursery: Nursery, ended: Process) -> list[int]:
    """What a candidate left running: processes of its user, and whatever the server had to adopt.

    What is dead is listed until its parent, the server, looks after it again.
    """
    adopted = [one.pid for one in psutil.Process(server_of(nursery)).children(recursive=True)]
    found = []
    for pid in {*account.processes(account.number(ended.pid)), *adopted}:
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
    while left(nursery, process) and time.monotonic() < until:
        time.sleep(0.02)
    assert left(nursery, process) == [], "processes are left behind"
    assert attempt(nursery, targets, GOOD)[0] == "", "the next candidate is harmed"


@pytest.mark.parametrize(
    "names",
    [
        pytest.param(AS_NOBODY, id="a-handful"),
        pytest.param([path.stem for path in SCRIPTS], id="all", marks=[pytest.mark.slow]),
    ],
)
def test_they_are_contained_as_well_where_nobody_is_root(names: Sequence[str]) -> None:
    if os.getuid() != 0:
        pytest.skip("all of this file runs so already")
    cases = [f"{__file__}::{test_a_hostile_script_is_contained.__name__}[{name}]" for name in names]
    with nobody.folder_of_nobody() as folder:
        options = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "", f"--basetemp={folder / 'tests'}"]
        done = nobody.run([*options, *cases], folder, 60 + 20 * len(names))
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert f"{len(names)} passed" in done.stdout


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
