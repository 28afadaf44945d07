"""The walls' own parts: the filter as a program, users, profiles, and what other systems are told."""

from __future__ import annotations

import ctypes
import errno
import pwd
import struct
import sys
from pathlib import Path

import pytest

from agent.errors import SandboxError, WallsError
from agent.sandbox import Nursery, account, graphics, macos, seccomp, walls, windows, windows_token
from agent.sandbox.child import places
from agent.sandbox.limits import Limits

ALLOW, KILL = 0x7FFF0000, 0x80000000
REFUSED = 0x00050000 | errno.EPERM
X86 = 0xC000003E


def run(
    machine: str,
    number: int,
    *arguments: int,
    architecture: int | None = None,
    pid: int = 0,
    card: bool = False,
    shared: int = 0,
) -> int:
    """What the kernel would do: the filter, carried out."""
    kind = seccomp._MACHINES[machine][0] if architecture is None else architecture
    data = struct.pack("<IIQ6Q", number, kind, 0, *[*arguments, *[0] * 6][:6])
    program = seccomp.program(machine, pid, card=card, shared=shared)
    at, value = 0, 0
    while True:
        code, yes, no, k = struct.unpack_from("HBBI", program, 8 * at)
        at += 1
        match code:
            case 0x20:
                value = int(struct.unpack_from("<I", data, k)[0])
            case 0x15:
                at += yes if value == k else no
            case 0x35:
                at += yes if value >= k else no
            case 0x45:
                at += yes if value & k else no
            case 0x54:
                value &= k
            case 0x06:
                return int(k)
            case other:
                raise AssertionError(other)


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_every_listed_call_is_refused_and_ordinary_ones_are_not(machine: str) -> None:
    _, denied, (clone, clone3, pair, send, control, _) = seccomp._MACHINES[machine]
    assert {run(machine, number) for number in denied.values()} == {REFUSED}
    ordinary = {"x86_64": (0, 1, 2, 9, 57, 59, 202, 231), "aarch64": (63, 64, 56, 222, 221, 98, 94)}[machine]
    assert {run(machine, number) for number in ordinary} == {ALLOW}
    assert run(machine, clone, 0x003D0F00) == ALLOW  # a thread
    assert run(machine, clone, 17) == ALLOW  # a fork
    for namespace in (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000):
        assert run(machine, clone, namespace | 17) == REFUSED
    assert run(machine, clone3) == 0x00050000 | errno.ENOSYS
    assert run(machine, pair, 1, 1 | 0o2000000) == ALLOW
    assert run(machine, pair, 1, 2 | 0o2000000) == REFUSED
    assert run(machine, send, 3, 4, 5, 0, 0) == ALLOW
    assert run(machine, send, 3, 4, 5, 0, 0x7FFF1000) == REFUSED
    assert run(machine, control, 0, 0x5413) == ALLOW
    assert run(machine, control, 0, 0x5412) == REFUSED


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_with_a_card_cuda_may_listen_and_nothing_may_connect_or_send(machine: str) -> None:
    _, denied, (clone, _, pair, send, *_) = seccomp._MACHINES[machine]
    assert run(machine, denied["socket"], 1, 5 | 0o2000000, 0, card=True) == ALLOW
    assert {run(machine, denied[name], card=True) for name in ("bind", "listen", "memfd_create")} == {ALLOW}
    for family, kind in ((1, 1), (1, 2), (2, 1), (2, 5), (10, 2), (16, 3), (17, 3), (40, 1)):
        assert run(machine, denied["socket"], family, kind | 0o2000000, card=True) == REFUSED
    others = {number for name, number in denied.items() if name not in seccomp._CARD}
    assert {run(machine, number, card=True) for number in others} == {REFUSED}
    assert run(machine, send, 3, 4, 5, 0, 0x7FFF1000, card=True) == REFUSED
    assert run(machine, pair, 1, 2 | 0o2000000, card=True) == REFUSED
    assert run(machine, clone, 0x10000000 | 17, card=True) == REFUSED
    assert run(machine, 0, card=True) == ALLOW


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_where_nothing_else_keeps_signals_in_only_the_process_itself_can_be_sent_one(machine: str) -> None:
    for number in seccomp._SIGNALS[machine]:
        assert run(machine, number, 4242) == ALLOW
        assert run(machine, number, 4242, pid=4242) == ALLOW
        assert run(machine, number, 1, pid=4242) == REFUSED
        assert run(machine, number, 0xFFFFFFFF, pid=4242) == REFUSED


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_with_its_user_s_number_it_may_not_do_what_owners_may(machine: str) -> None:
    """Neither to files nor to other processes, by whatever call; what it does to itself is its own affair."""
    for number in seccomp._OWNERS[machine].values():
        assert run(machine, number) == ALLOW
        assert run(machine, number, shared=4242) == REFUSED
    for number, who, kind in seccomp._RULERS[machine]:
        for process, said in ((0, ALLOW), (4242, ALLOW), (1, REFUSED), (4243, REFUSED)):
            given = [kind or 0, 0, 0]
            given[who] = process
            assert run(machine, number, *given, shared=4242) == said
            assert run(machine, number, *given) == ALLOW
        if kind is not None:  # a group's, or all of the user's
            assert run(machine, number, kind + 1, 0, shared=4242) == REFUSED
    ordinary = {"x86_64": (0, 1, 2, 9, 257, 262, 203), "aarch64": (63, 64, 56, 222, 79, 122)}[machine]
    assert {run(machine, number, shared=4242) for number in ordinary} == {ALLOW}


def test_another_architecture_s_calls_end_the_process() -> None:
    assert run("x86_64", 39, architecture=0x40000003) == KILL
    assert run("x86_64", 0x40000000 | 39) == REFUSED


def test_both_machines_refuse_the_same_calls() -> None:
    assert set(seccomp._X86) - set(seccomp._ARM) == {"mknod", "iopl", "ioperm"}
    assert set(seccomp._ARM) <= set(seccomp._X86)
    assert len(set(seccomp._X86.values())) == len(seccomp._X86)
    assert len(set(seccomp._ARM.values())) == len(seccomp._ARM)


def test_users_of_candidates_belong_to_nobody() -> None:
    assert account.number(1) != account.number(2)
    assert account.number(4_194_304) >= account.FIRST
    account.end_all(0)  # never root's processes
    account.end_all(1000)
    with pytest.raises(KeyError):
        pwd.getpwuid(account.number(77))


def test_a_script_may_read_the_engines_and_not_the_agent() -> None:
    found = places()
    root = Path(__file__).parents[2]
    assert str(root / "engines") in found
    assert str(root) not in found
    assert not {str(root / name) for name in ("agent", "studio")} & found


def test_below_the_wanted_level_nothing_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    """And the sentence says how to have it all the same."""
    with Nursery(Limits(), preloaded=("numpy", "engines.harness")) as nursery:
        monkeypatch.setattr(
            "agent.sandbox.process.Process.wait_ready", lambda self: setattr(self, "isolation", "none")
        )
        with pytest.raises(SandboxError, match="PARETO_STUDIO_WITHOUT_WALLS=yes"):
            nursery.start()
    monkeypatch.setenv("PARETO_STUDIO_WITHOUT_WALLS", "yes")
    with Nursery(Limits(), preloaded=("numpy", "engines.harness")) as asked:
        asked.start().close()
        assert asked.level.endswith("run only scripts that you have read.")


def test_the_macos_profile_denies_by_default_and_quotes_paths(tmp_path: Path) -> None:
    odd = tmp_path / 'a "b"'
    odd.mkdir()
    text = macos.profile(["/opt/model"], [odd])
    assert text.startswith("(version 1)\n(deny default)")
    assert "(deny network*)" in text
    assert '(subpath "/opt/model")' in text
    assert r"a \"b\"" in text
    assert text.count("(") == text.count(")")
    assert "file-write*" in text
    assert "/opt/model" not in text.split("(allow file-write*")[1]
    if sys.platform != "darwin":
        assert not macos.walled()
        with pytest.raises(OSError, match="sandbox-exec"):
            macos.wrapped(["python"], [], [])


def test_device_memory_is_asked_of_the_driver_and_nobody_where_there_is_none() -> None:
    assert ctypes.sizeof(graphics._ProcessInfo) == 24
    if graphics._library() is None:
        assert graphics.limit() == 0
        assert graphics.used([1]) == 0.0
    else:
        assert graphics.limit() > 100
        assert graphics.used([]) == 0.0


def test_windows_structures_have_the_sizes_that_windows_expects() -> None:
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        assert ctypes.sizeof(windows._Basic) == 64
        assert ctypes.sizeof(windows._Extended) == 144
    if sys.platform != "win32":
        with pytest.raises(OSError, match="under Windows only"):
            windows.Job(1, Limits())
        with pytest.raises(OSError, match="under Windows only"):
            windows_token.restricted()
        with pytest.raises(OSError, match="under Windows only"):
            windows_token.Restricted(["python"], {"A": "1"}, Path(), Limits())


def test_what_a_restricted_process_is_started_with_has_the_layout_that_windows_expects() -> None:
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        assert ctypes.sizeof(windows_token.StartupInfo) == 104
        assert windows_token.StartupInfo.stdin.offset == 80
        assert ctypes.sizeof(windows_token.ProcessInformation) == 24
        assert ctypes.sizeof(windows.SidAndAttributes) == 16
    block = windows_token.environment_block({"path": "C:\\x", "A": "1", "Lang": ""})
    assert block == "A=1\0Lang=\0path=C:\\x\0\0"
    for wrong in ({"": "1"}, {"A": "1\0B=2"}, {"A=B": "1"}):
        with pytest.raises(ValueError, match="cannot be handed"):
            windows_token.environment_block(wrong)
    # TOKEN_GROUPS as the system lays it out: a count, padding, then pairs of pointer and attributes
    found = ctypes.create_string_buffer(8 + 2 * 16)
    ctypes.c_uint32.from_buffer(found).value = 2
    ctypes.c_uint32.from_buffer(found, 8 + 16 + 8).value = 0xC0000007
    groups = windows_token.groups_of(found)
    assert [one.attributes for one in groups] == [0, 0xC0000007]
    assert windows_token.WRITE_RESTRICTED | windows_token.DISABLE_MAX_PRIVILEGE == 9


def test_where_nothing_limits_candidates_the_user_is_asked_first(monkeypatch: pytest.MonkeyPatch) -> None:
    assert walls.level() == "limited"  # at least: POSIX limits whoever asks for it
    walls.ask_first()
    monkeypatch.setenv("PARETO_STUDIO_WITHOUT_WALLS", "")
    monkeypatch.setattr(walls, "level", lambda: "none")
    with pytest.raises(WallsError, match="Nothing runs before you agree") as refused:
        walls.ask_first()
    assert refused.value.asks == "without_walls"
    walls.agree()
    walls.ask_first()
