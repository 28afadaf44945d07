"""A package proves itself, and nothing that was changed passes."""

from __future__ import annotations

import io
import json
import shutil
import stat
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from engines.errors import PackageError
from engines.package import sums
from engines.package.manifest import schema
from engines.package.verify import verify
from engines.package.write import pack, write
from tests.engines.package_parts import contents


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write(contents(folder), folder / "tiny")
    pack(folder / "tiny")
    return folder / "tiny"


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "tiny")
    return tmp_path / "tiny"


def refused(package: Path) -> str:
    with pytest.raises(PackageError) as caught:
        verify(package)
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    assert "{" not in sentence
    return sentence


def edit(package: Path, change: Callable[[dict[str, Any]], object], *, consistent: bool = True) -> None:
    path = package / "manifest.json"
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))
    if consistent:
        sums.write(package)


def test_a_package_and_its_zip_have_the_same_id(made: Path) -> None:
    folder, archive = verify(made), verify(made.with_suffix(".pareto"))
    assert folder.id == archive.id
    assert folder.files == archive.files
    assert folder.id.startswith("sha256:")


def test_verification_says_what_it_does_not_prove(made: Path) -> None:
    notes = " ".join(verify(made).notes)
    assert "Not signed" in notes
    assert "not yet verified on any device" in notes


@pytest.mark.parametrize("at", [0, 0.5, 1])
def test_one_changed_byte_anywhere_is_refused(package: Path, at: float) -> None:
    for name in [path for path in sums.walk(package) if path != sums.SUMS]:
        path = package / name
        kept = path.read_bytes()
        changed = bytearray(kept)
        if not changed:
            continue
        changed[int(at * (len(changed) - 1))] ^= 1
        path.write_bytes(changed)
        assert name in refused(package)
        path.write_bytes(kept)
    verify(package)


def test_one_changed_digit_of_the_sums_is_refused(package: Path) -> None:
    path = package / sums.SUMS
    text = path.read_text()
    path.write_text(("0" if text[0] != "0" else "1") + text[1:])
    assert "changed" in refused(package)


def test_a_byte_changed_inside_the_zip_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copy(made.with_suffix(".pareto"), tmp_path / "tiny.pareto")
    with zipfile.ZipFile(tmp_path / "tiny.pareto") as archive:
        info = next(item for item in archive.infolist() if item.filename.endswith("denoiser.onnx"))
    content = bytearray((tmp_path / "tiny.pareto").read_bytes())
    content[info.header_offset + 30 + len(info.filename) + info.compress_size // 2] ^= 0x55
    (tmp_path / "tiny.pareto").write_bytes(content)
    refused(tmp_path / "tiny.pareto")


def test_a_cut_off_zip_is_refused(made: Path, tmp_path: Path) -> None:
    (tmp_path / "tiny.pareto").write_bytes(made.with_suffix(".pareto").read_bytes()[:-400])
    assert "no readable zip" in refused(tmp_path / "tiny.pareto")


def test_missing_and_extra_files_are_refused(package: Path) -> None:
    (package / "extra.py").write_text("print()")
    assert "extra.py" in refused(package)
    (package / "extra.py").unlink()
    (package / "golden.png").unlink()
    assert "golden.png is missing" in refused(package)


def test_compiled_python_beside_the_sources_is_refused(package: Path) -> None:
    (package / "engines" / "__pycache__").mkdir()
    (package / "engines" / "__pycache__" / "errors.cpython-311.pyc").write_bytes(b"x")
    assert "__pycache__" in refused(package)


def test_a_symbolic_link_is_refused_even_with_the_right_content(package: Path, tmp_path: Path) -> None:
    (package / "README.md").rename(tmp_path / "README.md")
    (package / "README.md").symlink_to(tmp_path / "README.md")
    assert "link" in refused(package)


def test_a_linked_folder_is_refused(package: Path, tmp_path: Path) -> None:
    (package / "engines").rename(tmp_path / "engines")
    (package / "engines").symlink_to(tmp_path / "engines", target_is_directory=True)
    assert "link" in refused(package)


@pytest.mark.parametrize(
    "name", ["../evil", "/etc/evil", "tiny/../../evil", "C:/evil", "tiny\\evil", "tiny/con", "tiny/./evil"]
)
def test_a_path_that_leaves_the_folder_is_refused_in_a_zip(made: Path, tmp_path: Path, name: str) -> None:
    shutil.copy(made.with_suffix(".pareto"), tmp_path / "tiny.pareto")
    with zipfile.ZipFile(tmp_path / "tiny.pareto", "a") as archive:
        archive.writestr(zipfile.ZipInfo(name), b"evil")
    assert "outside" in refused(tmp_path / "tiny.pareto")
    assert not (tmp_path.parent / "evil").exists()


@pytest.mark.parametrize("name", ["../evil", "/etc/passwd", "a/../../b", "..\\evil", "a//b", ""])
def test_a_path_that_leaves_the_folder_is_refused_in_the_sums(package: Path, name: str) -> None:
    with (package / sums.SUMS).open("a") as file:
        file.write(f"{'0' * 64}  {name}\n")
    refused(package)


def test_a_path_that_leaves_the_folder_is_refused_in_the_manifest(package: Path) -> None:
    edit(package, lambda data: data["additional_metadata"].update(tokenizer="../tokenizer.json"))
    assert "additional_metadata.tokenizer" in refused(package)


def test_a_link_in_a_zip_is_refused(made: Path, tmp_path: Path) -> None:
    shutil.copy(made.with_suffix(".pareto"), tmp_path / "tiny.pareto")
    link = zipfile.ZipInfo("tiny/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    with zipfile.ZipFile(tmp_path / "tiny.pareto", "a") as archive:
        archive.writestr(link, "/etc/passwd")
    assert "link" in refused(tmp_path / "tiny.pareto")


def test_two_entries_with_one_name_are_refused(made: Path, tmp_path: Path) -> None:
    shutil.copy(made.with_suffix(".pareto"), tmp_path / "tiny.pareto")
    with zipfile.ZipFile(tmp_path / "tiny.pareto", "a") as archive:
        archive.writestr("tiny/RUN.py", b"evil")
    assert "twice" in refused(tmp_path / "tiny.pareto")


def test_a_newer_major_schema_is_refused_and_a_newer_minor_is_read(package: Path) -> None:
    edit(package, lambda data: data.update(schema_version="1.7", brand_new={"a": 1}))
    assert verify(package).manifest.schema_version == "1.7"
    edit(package, lambda data: data.update(schema_version="2.0"))
    assert "schema 2.0" in refused(package)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data.update(unknown=1),
        lambda data: data["additional_metadata"].update(unknown=1),
        lambda data: data["additional_metadata"]["host_loop"].update(unknown=1),
        lambda data: data["components"]["denoiser"].update(unknown=1),
        lambda data: data["additional_metadata"].pop("golden"),
        lambda data: data["additional_metadata"]["golden"].update(seed="7"),
        lambda data: data.update(components={}),
        lambda data: data.update(layout="installed"),
        lambda data: data.pop("schema_version"),
        lambda data: data["components"]["denoiser"]["additional_metadata"].update(order=["other"]),
    ],
)
def test_what_the_schema_does_not_know_is_refused(
    package: Path, change: Callable[[dict[str, Any]], object]
) -> None:
    edit(package, change)
    refused(package)


def test_a_manifest_that_is_no_json_is_refused(package: Path) -> None:
    (package / "manifest.json").write_text("[" * 100_000)
    sums.write(package)
    assert "no JSON" in refused(package)


def test_an_engine_file_that_differs_from_the_manifest_is_refused_though_the_sums_agree(
    package: Path,
) -> None:
    model = next((package / "shared_assets").glob("*/denoiser.onnx"))
    model.write_bytes(model.read_bytes() + b"\0")
    sums.write(package)
    assert "denoiser" in refused(package)


@pytest.mark.parametrize("content", [b"", b"nothing", b"\xff\xfe\x00"])
def test_what_is_no_package_gets_a_sentence(tmp_path: Path, content: bytes) -> None:
    assert "There is no package" in refused(tmp_path / "absent")
    refused(tmp_path)
    (tmp_path / "file.zip").write_bytes(content)
    refused(tmp_path / "file.zip")
    (tmp_path / sums.SUMS).write_bytes(content)
    (tmp_path / "manifest.json").write_bytes(content)
    refused(tmp_path)


def test_the_published_schema_is_the_one_in_use() -> None:
    published = Path(__file__).resolve().parents[2] / "docs" / "package.schema.json"
    assert json.loads(published.read_text()) == schema()


@pytest.mark.parametrize(
    "names",
    [
        ("a/b", "A/c"),
        ("caf\u00e9.py", "cafe\u0301.py"),
        ("stra\u00dfe", "STRASSE"),
        ("a", "a/b"),
        ("a/b", "A"),
    ],
)
def test_names_that_are_one_on_some_system_are_refused(names: tuple[str, str]) -> None:
    with pytest.raises(PackageError, match="there twice"):
        sums.distinct(names)
    sums.distinct(("a/b", "a/c", "ab", "a.b"))


def test_a_zip_of_the_folder_by_another_program_is_the_same_package(made: Path, tmp_path: Path) -> None:
    other = shutil.make_archive(str(tmp_path / "other"), "zip", made.parent, made.name)
    assert verify(Path(other)).id == verify(made).id


def test_a_zip_whose_sizes_come_after_its_files_is_refused(made: Path, tmp_path: Path) -> None:
    """Programs that read it from the front and those that read it from the end may see other files."""

    class Pipe(io.RawIOBase):
        """What cannot go back to write a size."""

        def __init__(self, path: Path) -> None:
            self._file = path.open("wb")

        def writable(self) -> bool:
            return True

        def write(self, data: Any) -> int:
            return self._file.write(data)

        def close(self) -> None:
            self._file.close()
            super().close()

    with Pipe(tmp_path / "streamed.zip") as pipe, zipfile.ZipFile(pipe, "w") as archive:
        for name in sums.walk(made):
            archive.write(made / name, f"tiny/{name}")
    assert "not every system can unpack" in refused(tmp_path / "streamed.zip")
