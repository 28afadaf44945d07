"""Packages where something is wrong: a full disk, a changed byte, a device or a maker that is another."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import PackageChanged, PackageError
from engines.package import sums
from engines.package.runner import Package
from engines.package.sign import new_key, sign
from engines.package.verify import verify
from engines.package.write import Contents, amend, pack, write
from tests.engines.certificates import maker
from tests.engines.every_kind import every_kind
from tests.engines.package_parts import PROMPT, contents
from tests.packaging.clean_root import small_disk


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Contents:
    return contents(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def small(tmp_path: Path) -> Iterator[tuple[Path, Callable[[int], None]]]:
    """A disk of its own, and what leaves so many bytes of it free."""
    with small_disk(tmp_path) as made:
        yield made


def run(package: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-I", str(package / "run.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd=package.parent, check=False)


def refused(done: subprocess.CompletedProcess[str]) -> str:
    """The one sentence of a program that could not do what was asked."""
    assert done.returncode == 1, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.endswith(".\n")
    return done.stderr


def test_on_a_full_disk_a_package_is_whole_or_not_there_at_every_stage(
    parts: Contents, small: tuple[Path, Callable[[int], None]], tmp_path: Path
) -> None:
    folder, leave = small
    size = write(parts, tmp_path / "elsewhere").bytes
    place, archive = folder / "tiny", folder / "tiny.pareto"

    def there() -> set[str]:
        assert (folder / "mine").read_bytes() == b"years"
        return {path.name for path in folder.iterdir()} - {"mine"}

    full = "is full.*free space or choose another place|MiB free, the package needs"
    for share in (0.0, 0.05, 0.3, 0.7, 0.95):
        leave(int(share * size))
        with pytest.raises(PackageError, match=full):
            write(parts, place)
        assert not there()
    leave(8 << 20)
    before = write(parts, place).id
    for share in (0.0, 0.5):
        leave(int(share * size))
        with pytest.raises(PackageError, match=full):
            amend(place, lambda facts: facts.model_copy(update={"title": "another"}))
        with pytest.raises(PackageError, match=full):
            write(parts, place, replace=True)
        assert there() == {"tiny"}
        assert verify(place).id == before
    for share in (0.0, 0.2):
        leave(int(share * size))
        with pytest.raises(PackageError, match=full):
            pack(place)
        assert there() == {"tiny"}
    leave(8 << 20)
    assert verify(pack(place)).id == before
    leave(0)
    said = refused(run(tmp_path / "elsewhere", "--prompt", PROMPT, "--out", folder / "made.png"))
    assert "made.png cannot be written (No space left on device); give another --out." in said
    key, _ = new_key(tmp_path / "key.pem")
    for one in (place, archive):
        with pytest.raises(PackageError, match=full):
            sign(one, key)
        assert verify(one).id == before
    assert there() == {"tiny", "tiny.pareto"}


def test_a_changed_byte_of_each_kind_of_file_stops_the_runner_before_it_is_opened(tmp_path: Path) -> None:
    write(every_kind(tmp_path), tmp_path / "every")
    assert Package(tmp_path / "every").manifest["package_name"] == "every"
    kinds = {Path(name).suffix: name for name in sums.walk(tmp_path / "every") if name != sums.SUMS}
    assert len(kinds) >= 12
    for name in kinds.values():
        path = tmp_path / "every" / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(PackageChanged, match=r"was changed.*\.$"):
            Package(tmp_path / "every")
        path.write_bytes(whole)
    changed = next(name for name in kinds.values() if name.endswith(".plan"))
    (tmp_path / "every" / changed).write_bytes(b"another")
    for way in ("--self-test", "--lines", "--serve"):
        assert "model.plan was changed" in refused(run(tmp_path / "every", way))
    assert "checked   names and manifest" in run(tmp_path / "every", "--info").stdout  # it opens nothing else


def test_a_package_for_another_device_says_which_wheels_it_wants(parts: Contents, tmp_path: Path) -> None:
    there = tuple(
        replace(
            part,
            engine=part.engine.model_copy(update={"device": "directml"}),
            built_for=part.built_for.model_copy(update={"device": "directml"}),
        )
        for part in parts.engines
    )
    place = tmp_path / "Päckchen für 东京"
    write(replace(parts, engines=there), place)
    said = refused(run(place, "--prompt", PROMPT))
    assert "has no DmlExecutionProvider; install onnxruntime-directml" in said
    assert "requirements-onnxruntime-directml.txt" in said
    assert "onnxruntime-directml-fp32: text_encoder" in run(place, "--info").stdout
    assert not (place.parent / "picture.png").exists()


@pytest.mark.slow
def test_a_wrong_key_and_an_expired_certificate_stop_the_runner(
    parts: Contents, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(parts, tmp_path / "tiny")
    shutil.copytree(tmp_path / "tiny", tmp_path / "by-certificate")
    key, _ = new_key(tmp_path / "key.pem")
    _, other = new_key(tmp_path / "other.pem")
    sign(tmp_path / "tiny", key)
    said = refused(run(tmp_path / "tiny", "--info", "--key", other))
    assert "not made by the key in other.pem.pub" in said
    said = refused(run(tmp_path / "tiny", "--info", "--key", tmp_path / "absent.pub"))
    assert "cannot be read" in said
    old = maker(tmp_path / "old", first_day=-20, days=-10)
    with monkeypatch.context() as patch:
        patch.setattr("engines.package.sign.check_dates", lambda _certificate: None)
        sign(tmp_path / "by-certificate", old.key, old.certificate)
    said = refused(run(tmp_path / "by-certificate", "--info", "--certificate", old.authority))
    assert "expired on" in said
    assert "ask the package's maker to sign it again" in said
