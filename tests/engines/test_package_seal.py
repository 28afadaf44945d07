"""A package's bytes are read once by all processes that use them, and none is loaded that was not checked."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from engines.errors import PackageChanged
from engines.package import seal as sealing
from engines.package import sums
from engines.package.extend import extend, parts_of
from engines.package.runner import Package
from engines.package.seal import Seal
from engines.package.verify import verify
from engines.package.write import write
from tests.engines.package_parts import PROMPT, SEED, contents
from tests.engines.test_package_variants import for_device

_TELLING = """
import hashlib, runpy, sys
real = hashlib.file_digest
def told(*arguments):
    print("READ", file=sys.stderr)
    return real(*arguments)
hashlib.file_digest = told
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""
"""Runs a program, and says so whenever it takes a digest of a file."""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write(contents(folder), folder / "tiny")
    return folder / "tiny"


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that were written just now count as still: the tests need not wait for it."""
    monkeypatch.setattr(sealing, "STILL", -1.0)


def model(package: Path, name: str = "decoder") -> Path:
    return next(package.glob(f"shared_assets/*/{name}.onnx"))


def change(path: Path, *, keep_times: bool = False) -> None:
    """One bit, in place: size and inode stay, and with `keep_times` what a program can set of the times."""
    time.sleep(0.02)  # the file system's clock moves on
    before = path.stat()
    content = path.read_bytes()
    with path.open("r+b") as file:
        file.write(content[:-1] + bytes([content[-1] ^ 1]))
    if keep_times:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.usefixtures("at_once")
def test_what_a_parent_checked_is_not_read_again(package: Path) -> None:
    first = Seal(package)
    first.check()
    whole = (
        sum((package / name).stat().st_size for name in sums.walk(package))
        - (package / sums.SUMS).stat().st_size
    )
    assert first.bytes == whole
    handed = json.loads(json.dumps(first.hand_on()))
    second = Package(package, handed=handed)
    second.generate([PROMPT], [SEED])
    assert second.seal.bytes == 0
    assert second.id == verify(package).id


@pytest.mark.usefixtures("at_once")
@pytest.mark.parametrize("keep_times", [False, True])
def test_a_file_that_changed_after_the_parent_checked_it_is_refused(package: Path, keep_times: bool) -> None:
    first = Seal(package)
    first.check()
    change(model(package), keep_times=keep_times)
    with pytest.raises(PackageChanged, match=r"decoder\.onnx was changed"):
        Package(package, handed=first.hand_on())


@pytest.mark.usefixtures("at_once")
def test_a_file_put_in_the_place_of_a_checked_one_is_refused(package: Path) -> None:
    first = Seal(package)
    first.check()
    there = model(package)
    other = there.with_suffix(".other")
    shutil.copy2(there, other)
    change(other, keep_times=True)
    other.replace(there)
    with pytest.raises(PackageChanged, match=r"decoder\.onnx was changed"):
        Package(package, handed=first.hand_on())


@pytest.mark.usefixtures("at_once")
def test_a_file_that_was_only_touched_is_read_and_taken(package: Path) -> None:
    first = Seal(package)
    first.check()
    model(package).touch()
    found = Package(package, handed=first.hand_on())
    assert found.seal.bytes == model(package).stat().st_size


def test_a_file_that_was_just_written_gets_no_mark(package: Path) -> None:
    """A clock's tick could hide what happens to it next."""
    for path in package.rglob("*"):
        if path.is_file():
            path.touch()
    first = Seal(package)
    first.check()
    assert first.hand_on()["marks"] == {}
    still = time.time_ns() - 10**10
    os.utime(model(package), ns=(still, still))  # of content; its change of state is now
    first.check()
    assert first.hand_on()["marks"] == {}


def test_a_file_that_changes_between_the_check_and_the_load_is_not_loaded(package: Path) -> None:
    opened = Package(package)
    change(model(package, "denoiser"), keep_times=True)
    with pytest.raises(PackageChanged, match=r"denoiser\.onnx was changed"):
        opened.generate([PROMPT], [SEED])


def test_a_changed_variant_is_an_error_and_not_passed_over(package: Path) -> None:
    extend(package, [for_device(part, "directml") for part in parts_of(package)])
    opened = Package(package)
    change(model(package, "denoiser"))
    with pytest.raises(PackageChanged, match="was changed"):
        opened.generate([PROMPT], [SEED])


@pytest.mark.usefixtures("at_once")
def test_marks_of_another_package_are_worth_nothing(package: Path) -> None:
    first = Seal(package)
    first.check()
    handed = first.hand_on()
    change(model(package))
    sums.write(package)  # consistent, and another package
    with pytest.raises(PackageChanged, match="another package than when the server was started"):
        Package(package, handed=handed)
    (package / "more.txt").write_text("x")
    with pytest.raises(PackageChanged, match=r"more\.txt is in the package but not in SHA256SUMS"):
        Package(package, handed=handed | {"id": sums.identity(sums.read_sums(package))})


def test_what_a_package_is_is_said_without_reading_its_engines(package: Path) -> None:
    opened = Package(package, everything=False)
    assert opened.manifest["package_name"] == "tiny"
    assert opened.seal.bytes == 0
    opened.generate([PROMPT], [SEED])  # then everything is
    assert opened.seal.bytes >= sum(path.stat().st_size for path in package.rglob("*.onnx"))
    again = Package(package, everything=False)
    change(package / "LICENSE")
    with pytest.raises(PackageChanged, match="LICENSE was changed"):
        again.generate([PROMPT], [SEED])
    (package / "manifest.json").write_text("{}")
    with pytest.raises(PackageChanged, match=r"manifest\.json was changed"):
        Package(package, everything=False)


def test_an_engine_process_reads_nothing_that_its_server_checked(package: Path) -> None:
    """`run.py --engine`, with what a server hands on; a changed model stops it before it is warm."""
    first = Seal(package)
    first.check()
    handed = first.hand_on()
    handed["marks"] = {  # as of files that lay still
        path: list(sealing._mark((package / path).lstat())) for path in first.digests if path != sums.SUMS
    }
    command = [sys.executable, "-I", "-c", _TELLING, str(package / "run.py"), "--engine", "heavy", "--sealed"]

    def start() -> subprocess.CompletedProcess[str]:
        asked = json.dumps(handed) + "\n"
        return subprocess.run(command, input=asked, capture_output=True, text=True, check=False)

    done = start()
    assert json.loads(done.stdout.splitlines()[0])["ready"], done.stderr
    assert "READ" not in done.stderr
    change(model(package), keep_times=True)
    done = start()
    assert done.returncode == 1
    assert "decoder.onnx was changed" in done.stderr
    assert done.stdout == ""
