"""Installers built from a tiny program: installed, upgraded, damaged, removed; and what the locks promise."""

from __future__ import annotations

import importlib
import io
import os
import random
import shutil
import subprocess
from pathlib import Path
from types import ModuleType

import pytest

from studio.setup import lock
from tests.packaging.tiny_bundle import ROOT

PACKAGING = ROOT / "packaging"
PROGRAM = '#!/bin/sh\n[ -z "$PARETO_TEST_LOG" ] || echo "$@" >>"$PARETO_TEST_LOG"\n'


@pytest.fixture
def builder(monkeypatch: pytest.MonkeyPatch) -> dict[str, ModuleType]:
    """The modules of `packaging/installers`."""
    monkeypatch.syspath_prepend(str(PACKAGING / "installers"))
    names = ("source", "archive", "window", "linux", "libraries")
    return {name: importlib.import_module(name) for name in names}


def needs(builder: dict[str, ModuleType], glibc: str = "2.17", **libraries: str) -> object:
    """What an installer asks of a system, `libm.so.6` among it, which every system has."""
    return builder["libraries"].Needs(glibc, {"libm.so.6": "libc6", **libraries})


def program(folder: Path, extra: str) -> Path:
    """What `linux.build` would hand on: a window that starts, and a file of its version."""
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "window").mkdir(parents=True)
    start = folder / "window" / "pareto-studio"
    start.write_text(PROGRAM)
    start.chmod(0o755)
    (folder / "window" / extra).write_text(extra)
    return folder


def make_run(
    builder: dict[str, ModuleType], base: Path, version: str, glibc: str = "2.17", **libraries: str
) -> Path:
    base.mkdir(parents=True, exist_ok=True)
    source = builder["source"].Source(ROOT, version, 1_790_000_000, "")
    tree = base / f"tree-{version}"
    shutil.rmtree(tree, ignore_errors=True)
    tiny = program(base / "program", f"only-in-{version}")
    made: Path = builder["linux"].run(source, tiny, needs(builder, glibc, **libraries), tree, base)
    return made


def install(run: Path, prefix: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = ["sh", str(run), "--prefix", str(prefix), *more]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}


@pytest.mark.skipif(os.name == "nt", reason="for Linux")
def test_the_run_installs_upgrades_and_removes_in_a_folder_with_spaces_and_other_letters(
    builder: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = tmp_path / "log"
    monkeypatch.setenv("PARETO_TEST_LOG", str(log))
    prefix = tmp_path / "Дом & 家 #1"
    other = prefix / "share" / "applications" / "other.desktop"
    other.parent.mkdir(parents=True)
    other.write_text("another program's")
    first, second = (make_run(builder, tmp_path / "out", version) for version in ("1.0", "1.1"))
    done = install(first, prefix)
    assert done.returncode == 0, done.stderr
    target = prefix / "lib" / "pareto-studio"
    entry = (prefix / "share" / "applications" / "pareto-studio.desktop").read_text(encoding="utf-8")
    assert f'Exec="{target}/window/pareto-studio" %f' in entry
    assert (prefix / "share" / "icons/hicolor/scalable/apps/pareto-studio.svg").exists()
    assert (prefix / "bin" / "pareto-studio").resolve() == target / "window" / "pareto-studio"
    assert install(second, prefix).returncode == 0
    assert (target / "window" / "only-in-1.1").exists()
    assert not (target / "window" / "only-in-1.0").exists()
    gone = subprocess.run([target / "uninstall"], capture_output=True, text=True, check=True)
    assert "runs stay in" in gone.stdout
    assert log.read_text() == "setup --remove\n"
    assert files(prefix) - {"share/applications/mimeinfo.cache"} == {"share/applications/other.desktop"}


@pytest.mark.skipif(os.name == "nt", reason="for Linux")
def test_the_run_says_what_is_wrong_and_leaves_what_was_there(
    builder: dict[str, ModuleType], tmp_path: Path
) -> None:
    run = make_run(builder, tmp_path / "out", "1.0")
    prefix = tmp_path / "prefix"
    assert install(run, prefix).returncode == 0
    before = files(prefix)
    content = run.read_bytes()
    cut, damaged = tmp_path / "cut.run", tmp_path / "damaged.run"
    cut.write_bytes(content[:-100])
    damaged.write_bytes(content[:-200] + bytes([content[-200] ^ 1]) + content[-199:])
    for bad in (cut, damaged):
        assert "damaged or was not downloaded whole; download it again" in install(bad, prefix).stderr
    lock_file = prefix / "lib" / "pareto-studio.installing"
    lock_file.write_text(str(os.getpid()))
    assert "is being installed into" in install(run, prefix).stderr
    lock_file.unlink()
    assert files(prefix) == before
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    assert "cannot be written; choose another folder" in install(run, in_the_way / "below").stderr
    # One digit more would move the files behind the script: the number grows, its length stays.
    head, payload = content[: len(content) - 1], content[-1:]
    start = head.index(b"\nkib=") + 5
    end = head.index(b"\n", start)
    huge = tmp_path / "huge.run"
    huge.write_bytes(head[:start] + b"9" * (end - start) + head[end:] + payload)
    if int(b"9" * (end - start)) * 1024 > shutil.disk_usage(tmp_path).free:
        assert "MiB free; free some space or choose another folder" in install(huge, tmp_path / "far").stderr
    assert install(run, prefix, "--check").stdout == "The file is whole.\n"


@pytest.mark.skipif(os.name == "nt", reason="for Linux")
def test_the_run_says_what_a_system_lacks_before_anything_is_written(
    builder: dict[str, ModuleType], tmp_path: Path
) -> None:
    prefix = tmp_path / "prefix"
    old = install(make_run(builder, tmp_path / "old", "1.0", glibc="9.1"), prefix)
    assert "needs a Linux with glibc 9.1 or later" in old.stderr
    lacks = {"libnowhere.so.7": "libnowhere7", "libm.so": "libm-of-another-name"}
    bare = install(make_run(builder, tmp_path / "bare", "1.0", **lacks), prefix)
    if shutil.which("ldconfig", path=f"{os.environ['PATH']}:/sbin:/usr/sbin"):
        assert "libraries that are not here: libnowhere.so.7 libm.so. On Debian and Ubuntu" in bare.stderr
        assert "sudo apt install libnowhere7 libm-of-another-name." in bare.stderr
        assert bare.returncode == 1
    assert old.returncode == 1
    assert not prefix.joinpath("lib", "pareto-studio").exists()


@pytest.mark.skipif(os.name == "nt", reason="for Linux")
def test_who_double_clicks_a_run_sees_what_it_says_and_who_reads_its_output_is_asked_nothing(
    builder: dict[str, ModuleType], tmp_path: Path
) -> None:
    """A small program stands for zenity: a real dialog would wait for somebody to close it."""
    tools, shown = tmp_path / "tools", tmp_path / "shown"
    tools.mkdir()
    (tools / "zenity").write_text(f'#!/bin/sh\nprintf "%s\\n" "$@" >>"{shown}"\n')
    (tools / "zenity").chmod(0o755)
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "DISPLAY": ":77"}
    run = make_run(builder, tmp_path / "out", "1.0")
    command = ["sh", str(run), "--prefix", str(tmp_path / "prefix")]

    def double_click(surroundings: dict[str, str]) -> int:
        nobody = subprocess.DEVNULL
        return subprocess.run(
            command, env=surroundings, stdin=nobody, stdout=nobody, stderr=nobody, check=False
        ).returncode

    subprocess.run(command, env=environment, check=True, capture_output=True)
    assert not shown.exists()
    assert double_click(environment) == 0
    assert "--info" in shown.read_text()
    assert "Open Pareto Studio from the applications menu" in shown.read_text()
    run.write_bytes(run.read_bytes()[:-9])
    assert double_click(environment) == 1
    assert "--error" in shown.read_text()
    assert "download it again" in shown.read_text()
    before = shown.read_text()
    assert double_click({**environment, "DISPLAY": "", "WAYLAND_DISPLAY": ""}) == 1
    assert shown.read_text() == before


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt" or os.geteuid() != 0, reason="mounting a small disk needs root")
def test_a_disk_that_fills_while_a_run_unpacks_keeps_the_version_before(
    builder: dict[str, ModuleType], tmp_path: Path
) -> None:
    """Another program takes the space after it was looked at: here the file says too little."""
    base, prefix = tmp_path / "out", tmp_path / "prefix"
    source = builder["source"].Source(ROOT, "1.0", 1_790_000_000, "")
    big = program(tmp_path / "program", "extra")
    (big / "window" / "big").write_bytes(random.Random(1).randbytes(24 << 20))
    base.mkdir()
    run = builder["linux"].run(source, big, needs(builder), tmp_path / "tree", base)
    prefix.mkdir()
    small = ["mount", "-t", "tmpfs", "-o", "size=40m", "tmpfs", str(prefix)]
    if subprocess.run(small, check=False, capture_output=True).returncode:
        pytest.skip("this system lets nobody mount")
    try:
        assert install(run, prefix).returncode == 0
        before = files(prefix)
        assert "MiB free; free some space" in install(run, prefix).stderr
        content = run.read_bytes()
        start = content.index(b"\nkib=") + 5
        digits = content.index(b"\n", start) - start
        run.write_bytes(content[:start] + b"1".rjust(digits, b"0") + content[start + digits :])
        assert "what was installed before is as it was" in install(run, prefix).stderr
        assert files(prefix) == before
    finally:
        subprocess.run(["umount", str(prefix)], check=True)


@pytest.mark.skipif(os.name == "nt", reason="for Linux")
@pytest.mark.parametrize("place", [".local/share/pareto-studio", ".cache/pareto-studio"])
def test_removing_the_deb_clears_a_home_where_the_window_was_only_opened_and_no_other(
    tmp_path: Path, place: str
) -> None:
    """The list of users and `runuser` are stood for; the program stands where the package has it."""
    opened, never, asked = tmp_path / "opened Ω", tmp_path / "never", tmp_path / "asked"
    (opened / place).mkdir(parents=True)
    never.mkdir()
    tools = tmp_path / "tools"
    tools.mkdir()
    me = opened.owner()
    users = "".join(f"{me}:x:1:1::{home}:/bin/sh\\n" for home in (opened, never, "/nonexistent"))
    for name, body in (("getent", f'printf "{users}"'), ("runuser", f'echo "$*" >>"{asked}"')):
        (tools / name).write_text(f"#!/bin/sh\n{body}\n")
        (tools / name).chmod(0o755)
    script = (PACKAGING / "templates" / "deb-prerm.sh").read_text()
    script = script.replace("/opt/pareto-studio/window/pareto-studio", str(tools / "runuser"))
    surroundings = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    for order, times in (("upgrade", 0), ("remove", 1)):
        subprocess.run(["sh", "-c", script, "prerm", order], env=surroundings, check=True)
        lines = asked.read_text().splitlines() if asked.exists() else []
        assert len(lines) == times
    assert lines[0].startswith(f"-u {me} ")
    assert f"HOME={opened} " in lines[0]
    assert lines[0].endswith("setup --remove")


@pytest.mark.skipif(shutil.which("dpkg-deb") is None, reason="dpkg-deb is Debian's")
def test_the_same_inputs_give_the_same_bytes(builder: dict[str, ModuleType], tmp_path: Path) -> None:
    source = builder["source"].Source(ROOT, "1.0", 1_790_000_000, "")
    made = []
    for number in (1, 2):
        base = tmp_path / str(number)
        base.mkdir()
        tiny = program(base / "program", "extra")
        os.utime(tiny / "window" / "extra", (number * 10**8, number * 10**8))
        made.append(
            (
                builder["linux"].deb(source, tiny, needs(builder), base / "deb", base).read_bytes(),
                builder["linux"].run(source, tiny, needs(builder), base / "run", base).read_bytes(),
            )
        )
    assert made[0] == made[1]
    listed = subprocess.run(
        ["dpkg-deb", "--contents", str(tmp_path / "1" / "pareto-studio_1.0_amd64.deb")],
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert "./opt/pareto-studio/window/pareto-studio" in listed
    assert "./usr/share/applications/pareto-studio.desktop" in listed
    assert "root/root" in listed


def test_a_tar_depends_on_content_alone(builder: dict[str, ModuleType], tmp_path: Path) -> None:
    packed = []
    for name, date in (("one", 10**8), ("other", 2 * 10**8)):
        folder = tmp_path / name
        (folder / "sub").mkdir(parents=True)
        (folder / "sub" / "file").write_text("same")
        os.utime(folder / "sub" / "file", (date, date))
        into = io.BytesIO()
        builder["archive"].tar(folder, into, 1_790_000_000)
        packed.append(into.getvalue())
    assert packed[0] == packed[1]
    (tmp_path / "other" / "sub" / "file").write_text("else")
    assert builder["archive"].differences(tmp_path / "one", tmp_path / "other") == ["sub/file"]


@pytest.mark.slow
def test_every_module_of_the_window_imports_where_nothing_heavy_can_be(
    builder: dict[str, ModuleType],
) -> None:
    builder["window"].check_imports(builder["source"].Source(ROOT, "1.0", 1_790_000_000, ""))


def test_a_window_that_would_need_torch_fails_the_build(
    builder: dict[str, ModuleType], tmp_path: Path
) -> None:
    for package in ("", "ui", "record", "plan", "setup"):
        (tmp_path / "studio" / package).mkdir(exist_ok=True, parents=True)
        (tmp_path / "studio" / package / "__init__.py").write_text("")
    (tmp_path / "studio" / "ui" / "page.py").write_text("import torch\n")
    with pytest.raises(builder["source"].BuildError, match="torch is not in the window"):
        builder["window"].check_imports(builder["source"].Source(tmp_path, "1.0", 1_790_000_000, ""))


def test_the_installers_locks_hold_the_versions_of_the_projects_lock() -> None:
    whole = {(pin.name, pin.version) for pin in lock.pins((PACKAGING / "requirements.lock").read_text())}
    names = {name for name, _ in whole}
    for name in ("backend.lock", "window.lock"):
        for pin in lock.pins((PACKAGING / name).read_text()):
            assert pin.name not in names or (pin.name, pin.version) in whole, (
                f"{name}: {pin.name} {pin.version}; run packaging/installer-locks"
            )


def test_the_wheels_of_packages_are_those_of_the_locks() -> None:
    """`assets/wheels`: what a package's variants need on machines that are not here."""
    locks = [lock.pins((PACKAGING / name).read_text()) for name in ("requirements.lock", "backend.lock")]
    whole = {(pin.name, pin.version) for pins in locks for pin in pins}
    names = {name for name, _ in whole}
    versions = dict(whole)
    for path in sorted((PACKAGING.parent / "assets" / "wheels").glob("*.txt")):
        for pin in lock.pins(path.read_text()):
            known = pin.name not in names or (pin.name, pin.version) in whole
            assert known, f"{path.name}: {pin.name} {pin.version}; run packaging/package-locks"
            if pin.name == "onnxruntime-gpu":
                assert pin.version == versions["onnxruntime"]


def test_the_windows_lock_has_no_torch_and_the_backends_has_hashes_for_everything() -> None:
    window = {pin.name for pin in lock.pins((PACKAGING / "window.lock").read_text())}
    assert {"pyside6-essentials", "pyqtgraph", "numpy", "pydantic"} <= window
    assert not window & {"torch", "scipy", "diffusers", "openvino"}
    backend = lock.pins((PACKAGING / "backend.lock").read_text())
    assert all("--hash=sha256:" in pin.text for pin in backend)
    torch = {pin.name for pin in backend if pin.torch_family}
    assert {"torch", "torchvision", "triton", "nvidia-cublas"} <= torch
    assert [one.partition("==")[0] for one in lock.torch_by_version(backend)] == ["torch", "torchvision"]
