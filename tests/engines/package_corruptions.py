"""Ways to tamper with a package, each a name and a change of its folder or of its archive."""

from __future__ import annotations

import base64
import json
import os
import shutil
import stat
import struct
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, get_args, get_origin

from engines.package import sums
from engines.package.evidence import Part
from engines.package.manifest import Manifest
from engines.package.write import archive_entry

Change = Callable[[Path], object]


@dataclass(frozen=True)
class Corruption:
    name: str
    change: Change
    """Of a folder, or of a zip."""
    zipped: bool = False
    manifest: bool = False
    """Whether it changes nothing but the manifest and the sums."""


def corruptions(package: Path) -> Iterator[Corruption]:
    """Of a package's folder and of the archive beside it; the same ones each time."""
    yield from _bytes(package)
    yield from _fields(package)
    yield from _sums(package)
    yield from _files(package)
    yield from _entries(package)
    yield from _archives(package)


def signature_corruptions(package: Path) -> Iterator[Corruption]:
    """Of the signature itself."""
    place = package / sums.SIGNATURE
    content = place.read_bytes()
    bundle = json.loads(content)

    def write(name: str, value: bytes | dict[str, Any]) -> Corruption:
        data = value if isinstance(value, bytes) else json.dumps(value).encode()
        return Corruption(f"signature: {name}", lambda folder: (folder / sums.SIGNATURE).write_bytes(data))

    yield Corruption("signature: stripped", lambda folder: (folder / sums.SIGNATURE).unlink())
    for name, value in {"empty": b"", "no JSON": b"\xff{", "a list": b"[]", "cut off": content[:-9]}.items():
        yield write(name, value)
    envelope = bundle["dsseEnvelope"]
    statement = json.loads(base64.b64decode(envelope["payload"]))

    def stated(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        other = json.loads(json.dumps(statement))
        change(other)
        payload = base64.b64encode(json.dumps(other).encode()).decode()
        found: dict[str, Any] = bundle | {"dsseEnvelope": envelope | {"payload": payload}}
        return found

    yield write("another statement", stated(lambda one: one["predicate"]["resources"].pop()))
    yield write("the same statement, written anew", stated(lambda one: one.update(more=1)))
    yield write("another kind of statement", stated(lambda one: one.update(predicateType="other")))
    raw = bytearray(base64.b64decode(envelope["signatures"][0]["sig"]))
    for at in range(0, len(raw), 9):
        flipped = bytes(raw[:at]) + bytes([raw[at] ^ 1]) + bytes(raw[at + 1 :])
        changed = [{"sig": base64.b64encode(flipped).decode(), "keyid": ""}]
        yield write(f"byte {at} of it", bundle | {"dsseEnvelope": envelope | {"signatures": changed}})
    yield write("nobody's", bundle | {"dsseEnvelope": envelope | {"signatures": []}})
    yield write("of another payload", bundle | {"dsseEnvelope": envelope | {"payloadType": "text/plain"}})
    yield write(
        "without material", {key: one for key, one in bundle.items() if key != "verificationMaterial"}
    )
    yield write("of another format", bundle | {"mediaType": "other"})


def _fit(folder: Path) -> None:
    """Make the sums fit what lies there, as someone would who asks nobody whether it is a package."""
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    digests = {name: sums.digest_file(folder / name) for name in names}
    text = sums.lines({name: digests[name] for name in names if name not in (sums.SUMS, sums.SIGNATURE)})
    (folder / sums.SUMS).write_text(text)


def _edit(name: str, change: Callable[[bytes], bytes], *, consistent: bool = False) -> Change:
    def carry_out(folder: Path) -> None:
        (folder / name).write_bytes(change((folder / name).read_bytes()))
        if consistent:
            _fit(folder)

    return carry_out


def _flip(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 0x10]) + content[at + 1 :]


def _bytes(package: Path) -> Iterator[Corruption]:
    """Every file: a changed, a lost, an added byte, no content, and one that the sums were made to fit."""
    for name in sums.walk(package):
        size = (package / name).stat().st_size
        if not size or name in (sums.SUMS, sums.SIGNATURE):
            continue
        yield Corruption(f"{name}: a byte", _edit(name, partial(_flip, at=size // 2)))
        yield Corruption(f"{name}: its last byte lost", _edit(name, lambda old: old[:-1]))
        yield Corruption(f"{name}: a byte more", _edit(name, lambda old: old + b"\n"))
        yield Corruption(f"{name}: emptied", _edit(name, lambda _old: b""))
        more = _edit(name, lambda old: old + b"\n", consistent=True)
        yield Corruption(f"{name}: a byte more, the sums made to fit", more)


def leaves(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(value, dict):
        for key, one in value.items():
            yield from leaves(one, (*path, key))
    elif isinstance(value, list):
        for at in sorted({0, 1, len(value) - 1} & set(range(len(value)))):  # of long lists both ends
            yield from leaves(value[at], (*path, at))


def _other(value: Any) -> Any:
    match value:
        case bool():
            return not value
        case int() | float():
            return value + 1
        case str():
            return value + "x"
        case list():
            return [*value, value[0]] if value else ["x"]
        case dict():
            return value | {"unknown": 1}
    return "x"


def _unsaid(model: Any, value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The fields of the schema that a manifest leaves out, by the types that its parts have."""
    if isinstance(model, type) and issubclass(model, Part) and isinstance(value, dict):
        for name, field in model.model_fields.items():
            key = field.alias or name
            if key in value:
                yield from _unsaid(field.annotation, value[key], (*path, key))
            else:
                yield (*path, key)
        return
    for inner in get_args(model):
        if isinstance(value, dict) and get_origin(model) is dict:
            for key, one in value.items():
                yield from _unsaid(inner, one, (*path, key))
        elif isinstance(value, list) and value:
            yield from _unsaid(inner, value[0], (*path, 0))
        elif get_origin(model) is not dict:
            yield from _unsaid(inner, value, path)


def unsaid(package: Path) -> set[str]:
    """By name, each field of the schema that this manifest does not have at some place."""
    manifest = json.loads((package / sums.MANIFEST).read_bytes())
    return {str(path[-1]) for path in _unsaid(Manifest, manifest)}


def _fields(package: Path) -> Iterator[Corruption]:
    """Every field of the manifest: another value, and gone; one that it leaves out: said.  The sums fit."""
    manifest = json.loads((package / sums.MANIFEST).read_bytes())

    def changed(path: tuple[Any, ...], change: Callable[[Any, Any], object]) -> Change:
        def carry_out(folder: Path) -> None:
            data = json.loads(json.dumps(manifest))
            place = data
            for key in path[:-1]:
                place = place[key]
            change(place, path[-1])
            (folder / sums.MANIFEST).write_text(json.dumps(data))
            _fit(folder)

        return carry_out

    def replace(place: Any, key: Any) -> None:
        place[key] = _other(place[key])

    for path in leaves(manifest):
        name = ".".join(str(part) for part in path)
        another, gone = changed(path, replace), changed(path, lambda place, key: place.pop(key))
        yield Corruption(f"manifest {name}: another", another, manifest=True)
        yield Corruption(f"manifest {name}: gone", gone, manifest=True)
    for path in _unsaid(Manifest, manifest):
        name = ".".join(str(part) for part in path)
        said = changed(path, lambda place, key: place.__setitem__(key, "x"))
        yield Corruption(f"manifest {name}: said", said, manifest=True)
    twice = _edit(sums.MANIFEST, lambda old: old.replace(b"{", b'{"layout": "x",', 1), consistent=True)
    yield Corruption("manifest: a key twice", twice)
    nan = _edit(sums.MANIFEST, lambda old: old.replace(b": 30.0", b": NaN"), consistent=True)
    yield Corruption("manifest: no number", nan)


def _sums(package: Path) -> Iterator[Corruption]:
    text = (package / sums.SUMS).read_bytes()
    lines = text.splitlines(keepends=True)

    def write(name: str, content: bytes) -> Corruption:
        return Corruption(f"sums: {name}", lambda folder: (folder / sums.SUMS).write_bytes(content))

    for at in range(0, len(lines), 7):
        yield write(f"a digit of line {at}", b"".join([*lines[:at], _flip(lines[at], 5), *lines[at + 1 :]]))
        yield write(f"line {at} gone", b"".join(lines[:at] + lines[at + 1 :]))
    yield write("a line twice", text + lines[-1])
    yield write("another order", b"".join(lines[::-1]))
    yield write("Windows line ends", text.replace(b"\n", b"\r\n"))
    yield write("large letters", text.upper())
    yield write("no end", text[:-1])
    yield write("an empty line", text + b"\n")
    yield write("a mark before it", b"\xef\xbb\xbf" + text)
    yield write("itself", text + b"0" * 64 + b"  SHA256SUMS\n")
    yield write("nothing", b"")
    yield write("no text", b"\xff" * 80)
    for name in ("../evil", "/etc/passwd", "C:/evil", "a\\b", "nul", "a//b", "x" * 300, "a\u202eb", "a\x85b"):
        yield write(f"names {name!r}", text + b"0" * 64 + b"  " + name.encode() + b"\n")


def _files(package: Path) -> Iterator[Corruption]:
    """Files that come, go, move, or are something else."""

    def add(name: str, content: bytes = b"x", *, consistent: bool = False) -> Corruption:
        def carry_out(folder: Path) -> None:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(content)
            if consistent:
                _fit(folder)

        return Corruption(f"added {name}{' to the sums too' if consistent else ''}", carry_out)

    names = "numpy.py .hidden .git/config engines/__pycache__/errors.cpython-311.pyc sitecustomize.py"
    for name in [
        *names.split(),
        "package.sig.bak",
        "__MACOSX/._run.py",
        "engines/package/extra.so",
        "shared_assets/more/model.onnx",
    ]:
        yield add(name)
    yield add("engines/hostloop/extra.py", b"print()", consistent=True)
    yield add("shared_assets/weights.pkl", b"\x80\x04.", consistent=True)
    yield add("RUN.py", consistent=True)
    yield Corruption("an empty folder", lambda folder: (folder / "numpy").mkdir())
    for name in sums.walk(package):
        if name != sums.SIGNATURE:
            yield Corruption(f"removed {name}", partial(_remove, name=name))
    for name in ("run.py", "golden.png", "manifest.json", "SHA256SUMS"):
        yield Corruption(f"linked {name}", partial(_link, name=name))
        yield Corruption(
            f"renamed {name}",
            partial(_rename, name=name),
        )
    yield Corruption("linked engines", partial(_link, name="engines"))
    yield Corruption("a pipe", lambda folder: os.mkfifo(folder / "pipe"))
    models = sorted(name for name in sums.walk(package) if name.endswith(".onnx"))
    yield Corruption(
        "two engines exchanged", lambda folder: _exchange(folder / models[0], folder / models[1])
    )
    yield Corruption("two engines exchanged, the sums made to fit", lambda folder: _consistent(
        folder, lambda: _exchange(folder / models[0], folder / models[1])
    ))  # fmt: skip


def _remove(folder: Path, name: str) -> None:
    (folder / name).unlink()


def _rename(folder: Path, name: str) -> None:
    (folder / name).rename(folder / name.swapcase())


def _link(folder: Path, name: str) -> None:
    path = folder / name
    there = folder.with_name("elsewhere") / path.name
    there.parent.mkdir(exist_ok=True)
    path.rename(there)
    path.symlink_to(there)


def _exchange(one: Path, two: Path) -> None:
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)


def _consistent(folder: Path, change: Callable[[], object]) -> None:
    change()
    _fit(folder)


def _entries(package: Path) -> Iterator[Corruption]:
    """Zips with one entry more, or one that is another."""
    top = package.name

    def add(name: str, content: bytes = b"x", **facts: Any) -> Corruption:
        def carry_out(path: Path) -> None:
            entry = zipfile.ZipInfo("placeholder")
            entry.filename = entry.orig_filename = name
            for key, value in facts.items():
                setattr(entry, key, value)
            with zipfile.ZipFile(path, "a") as archive:
                archive.writestr(entry, content)

        return Corruption(f"zip: an entry {name[:40]!r} {facts or ''}", carry_out, zipped=True)

    for name in (
        "../evil", "/etc/evil", f"{top}/../../evil", "C:/evil", f"{top}\\evil", f"{top}/con", f"{top}/./evil",
        f"{top}/RUN.py", f"{top}/ENGINES/errors.py", f"{top}/engines", f"{top}/extra.py", "other/run.py",
        f"{top}/{'x' * 300}", f"{top}/{'d/' * 200}x", f"{top}/a\u202eyp.nur", f"{top}/run.py.",
        f"{top}/a:stream", f"{top}/a?b",
    ):  # fmt: skip
        yield add(name)
    yield add(f"{top}/link", b"/etc/passwd", external_attr=(stat.S_IFLNK | 0o777) << 16)
    yield add(f"{top}/pipe", b"", external_attr=(stat.S_IFIFO | 0o644) << 16)
    yield add(f"{top}/empty/", b"")
    yield add(f"{top}/run.py/", b"")
    yield add(f"{top}/other", extra=struct.pack("<HHB", 0x7075, 1, 1))
    yield add(f"{top}/bomb", b"\0" * (4 << 20), compress_type=zipfile.ZIP_BZIP2)


def _archives(package: Path) -> Iterator[Corruption]:
    """Zips that are told twice and differently, or hold more than they say."""

    def edit(name: str, change: Callable[[bytes], bytes]) -> Corruption:
        return Corruption(
            f"zip: {name}", lambda path: path.write_bytes(change(path.read_bytes())), zipped=True
        )

    with zipfile.ZipFile(package.with_suffix(".pareto")) as archive:
        entries = archive.infolist()
        directory = archive.start_dir
    content = package.with_suffix(".pareto").read_bytes()
    last = entries[-1]
    name = last.filename.encode()

    def own(content: bytes, old: bytes, new: bytes) -> bytes:
        at = content.index(old, last.header_offset)
        return content[:at] + new + content[at + len(old) :]

    def listed(content: bytes, old: bytes, new: bytes) -> bytes:
        at = content.rindex(old)
        return content[:at] + new + content[at + len(old) :]

    yield edit("its own header names another file", lambda old: own(old, name, name[:-1] + b"!"))
    yield edit("the directory names another file", lambda old: listed(old, name, name[:-1] + b"!"))
    yield edit("bytes before it", lambda old: b"#!/bin/sh\n" + old)
    yield edit("bytes after it", lambda old: old + b"more")
    yield edit("half of it", lambda old: old[: len(old) // 2])
    yield edit("nothing", lambda _old: b"")
    yield edit("no directory", lambda old: old[:directory])
    yield edit("a comment", lambda old: old[:-2] + b"\4\0evil")
    yield edit("said to be encrypted", lambda old: _flags(old, entries[0], directory, 1))
    yield edit("said to be streamed", lambda old: _flags(old, entries[0], directory, 8))
    yield edit("packed otherwise", lambda old: _flags(old, entries[0], directory, 12, at=8))
    for info in [one for one in entries if one.file_size][::9]:
        place = info.header_offset + 30 + len(info.filename) + 20 + info.compress_size // 2
        check = content.index(info.filename.encode(), directory) - 46 + 16
        yield edit(f"a byte of {info.filename}", partial(_flip, at=place))
        yield edit(f"the check of {info.filename}", partial(_flip, at=check))
    yield Corruption("zip: all of it in another folder too", lambda path: _again(path, package), zipped=True)
    yield Corruption("zip: bytes between two files", lambda path: _gap(path), zipped=True)
    yield Corruption("zip: two entries share their bytes", lambda path: _overlap(path), zipped=True)
    yield Corruption("zip: a bomb", lambda path: _bomb(path, package), zipped=True)


def _flags(content: bytes, info: zipfile.ZipInfo, directory: int, value: int, at: int = 6) -> bytes:
    """In a file's own header and in the directory; `at`: 6 flags, 8 method."""
    record = content.index(info.filename.encode(), directory) - 46
    for here in (info.header_offset + at, record + at + 2):
        content = content[:here] + struct.pack("<H", value) + content[here + 2 :]
    return content


def _again(path: Path, package: Path) -> None:
    with zipfile.ZipFile(path, "a") as archive:
        for name in sums.walk(package):
            archive.write(package / name, f"other/{name}")


def _gap(path: Path) -> None:
    """Move the directory and the last file back by some bytes, all offsets made to fit."""
    with zipfile.ZipFile(path) as archive:
        last = archive.infolist()[-1]
        start = archive.start_dir
    content = path.read_bytes()
    hidden = b"PK\3\4 hidden"
    body = content[: last.header_offset] + hidden + content[last.header_offset : start]
    directory = bytearray(content[start:])
    at = directory.rindex(b"PK\1\2")
    directory[at + 42 : at + 46] = struct.pack("<L", last.header_offset + len(hidden))
    end = directory.rindex(b"PK\5\6")
    directory[end + 16 : end + 20] = struct.pack("<L", start + len(hidden))
    path.write_bytes(body + bytes(directory))


def _overlap(path: Path) -> None:
    """The directory's last entry begins where the one before it does."""
    with zipfile.ZipFile(path) as archive:
        before = archive.infolist()[-2]
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\1\2")
    content[at + 42 : at + 46] = struct.pack("<L", before.header_offset)
    path.write_bytes(content)


def _bomb(path: Path, package: Path) -> None:
    """A gibibyte of zeros in a mebibyte, for which the directory is made to say that it is there."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in sums.walk(package):
            with archive.open(archive_entry(f"{package.name}/{name}"), "w", force_zip64=True) as sink:
                if name == sums.MANIFEST:
                    block = b" " * (1 << 20)
                    for _ in range(80):
                        sink.write(block)
                with (package / name).open("rb") as source:
                    shutil.copyfileobj(source, sink)
