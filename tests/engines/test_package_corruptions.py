"""Nothing that was changed passes: not in a signed package, and in an unsigned one not under the same id."""

from __future__ import annotations

import io
import json
import random
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import pytest

from engines.errors import PackageError
from engines.package import sums
from engines.package.manifest import Engine
from engines.package.sign import new_key, sign
from engines.package.signature import Trust
from engines.package.verify import verify
from engines.package.write import pack, write
from tests.engines.every_kind import every_kind
from tests.engines.package_corruptions import (
    Corruption,
    corruptions,
    leaves,
    signature_corruptions,
    unsaid,
)
from tests.engines.package_parts import contents


@dataclass(frozen=True)
class Made:
    unsigned: Path
    signed: Path
    trust: Trust
    id: str


@pytest.fixture(scope="module", params=[contents, every_kind], ids=["one engine", "every kind"])
def made(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Made:
    """A package of ONNX files, and a cascade with every kind of file that packages hold."""
    room = tmp_path_factory.mktemp("made")
    unsigned, signed = room / "unsigned" / "tiny", room / "signed" / "tiny"
    unsigned.parent.mkdir()
    write(request.param(room), unsigned)
    shutil.copytree(unsigned.parent, signed.parent)
    key, public = new_key(room / "key.pem")
    sign(signed, key)
    for package in (unsigned, signed):
        pack(package)
    return Made(unsigned, signed, Trust(key=public), verify(unsigned).id)


def accepted(package: Path, found: list[Corruption], room: Path, check: Callable[[Path], bool]) -> list[str]:
    """The corruptions that `check` lets through, or that make something else than a `PackageError`."""
    passed = []
    kept = room / "kept" / package.name
    shutil.copytree(package, kept)
    for at, corruption in enumerate(found):
        place = room / str(at) / (f"{package.name}.pareto" if corruption.zipped else package.name)
        if corruption.manifest:  # most are such, and copies take longer than everything else
            place = kept
            for name in (sums.MANIFEST, sums.SUMS):
                shutil.copyfile(package / name, kept / name)
        elif corruption.zipped:
            place.parent.mkdir()
            shutil.copy(package.with_suffix(".pareto"), place)
        else:
            place.parent.mkdir()
            shutil.copytree(package, place)
        corruption.change(place)
        try:
            if check(place):
                passed.append(corruption.name)
        except PackageError as error:
            if "\n" in str(error) or not str(error).endswith("."):
                passed.append(f"{corruption.name}: {error}")
        except Exception as error:  # noqa: BLE001 - what is no sentence fails, with its name
            passed.append(f"{corruption.name}: {error!r}")
        if not corruption.manifest:
            shutil.rmtree(place.parent)
    return passed


def passes(package: Path, trust: Trust | None) -> bool:
    verify(package, trust)
    return True


def test_all_of_it_passes_before_it_is_changed(made: Made) -> None:
    for package in (made.signed, made.signed.with_suffix(".pareto")):
        found = verify(package, made.trust)
        assert found.id == made.id
        assert found.signature is not None
        assert found.signature.trusted


def test_the_packages_hold_every_kind_of_file_and_every_field_of_the_schema(tmp_path: Path) -> None:
    write(every_kind(tmp_path), tmp_path / "every")
    kinds = {Path(name).suffix for name in sums.walk(tmp_path / "every")}
    assert kinds >= {
        ".onnx", ".data", ".xml", ".bin", ".json", ".safetensors", ".mlmodel", ".plan", ".engine",
        ".pt2", ".py", ".txt", ".md", ".png", "",
    }  # fmt: skip
    found = verify(tmp_path / "every")
    assert {Path(name).name for name in found.native} == {
        "compiled.onnx", "model.plan", "model.engine", "model.pt2",
    }  # fmt: skip
    variants = [one for body in found.manifest.components.values() for one in body.variants.values()]
    assert {one.executor_info.studio.engine for one in variants} == set(
        get_args(Engine.model_fields["engine"].annotation)
    )
    # A field that no package fills is corrupted only by being said; this one is filled by compilers alone.
    everywhere = {path[-1] for path in leaves(json.loads((tmp_path / "every" / "manifest.json").read_text()))}
    assert unsaid(tmp_path / "every") - everywhere <= {"compatibility_string"}


QUICK = ("a byte", "a byte more, the sums made to fit")


def one_of_each_kind(found: list[Corruption]) -> list[Corruption]:
    """Of the changes of files the first by ending and change, so that each kind of file is among them."""
    kinds: dict[tuple[str, str], Corruption] = {}
    for one in found:
        name, _, change = one.name.partition(": ")
        if name.startswith("shared_assets/") and change in QUICK:
            kinds.setdefault((Path(name).suffix, change), one)
    return list(kinds.values())


def test_some_of_each_kind_of_corruption_are_refused(made: Made, tmp_path: Path) -> None:
    every = list(corruptions(made.signed))
    found = every[:: len(every) // 25] + one_of_each_kind(every)
    found += list(signature_corruptions(made.signed))[::3]
    assert len(found) > 35
    assert accepted(made.signed, found, tmp_path, lambda place: passes(place, made.trust)) == []


@pytest.mark.slow
def test_no_corruption_of_a_signed_package_is_accepted(made: Made, tmp_path: Path) -> None:
    found = [*corruptions(made.signed), *signature_corruptions(made.signed)]
    assert len(found) >= 200
    assert accepted(made.signed, found, tmp_path, lambda place: passes(place, made.trust)) == []
    print(f"{len(found)} corruptions of a signed package refused")


@pytest.mark.slow
def test_no_corruption_of_an_unsigned_package_keeps_its_id(made: Made, tmp_path: Path) -> None:
    found = list(corruptions(made.unsigned))
    assert len(found) >= 200
    assert accepted(made.unsigned, found, tmp_path, lambda place: verify(place).id == made.id) == []
    print(f"{len(found)} corruptions of an unsigned package refused or renamed")


@pytest.mark.slow
def test_a_changed_byte_of_the_zip_is_refused_or_changes_no_file(made: Made, tmp_path: Path) -> None:
    """Times and permissions of entries are nobody's business; everything else is."""
    path = made.signed.with_suffix(".pareto")
    whole = path.read_bytes()
    wanted = _unpacked(whole)
    choose = random.Random(1)
    through = 0
    for at in sorted(choose.sample(range(len(whole)), 400)):
        other = tmp_path / "tiny.pareto"
        other.write_bytes(whole[:at] + bytes([whole[at] ^ (1 << choose.randrange(8))]) + whole[at + 1 :])
        try:
            verify(other, made.trust)
        except PackageError:
            continue
        through += 1
        assert _unpacked(other.read_bytes()) == wanted, f"byte {at}"
    assert through < 100


def _unpacked(content: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return {info.filename: archive.read(info) for info in archive.infolist()}
