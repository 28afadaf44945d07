"""Keys and tokens that are at hand while something is exported are in nothing that comes of it."""

from __future__ import annotations

import base64
import hashlib
import io
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.candidate import Step
from agent.llm.key import KEYRING as SERVICE
from agent.llm.key import OFFICIAL, find_key
from studio.record import events
from studio.record.journal import Journal
from studio.record.state import RunState
from studio.work.export import export_candidate
from studio.work.export_as import export_candidate_as
from studio.work.proof import call
from tests.studio.recorded_run import add, begin

KEYS = {
    "PARETO_STUDIO_LLM_KEY": "sk-test-environment-9f1c77aa",
    "ANTHROPIC_API_KEY": "sk-test-official-2b8e44d0",
    "HF_TOKEN": "hf_testEnvironmentToken31",
    "PARETO_STUDIO_KEY_PASSWORD": "test-password-of-a-locked-key",
}
KEPT = "sk-test-keyring-c0ffee12"
"""In the system keyring."""


@pytest.fixture
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """In the environment and in the keyring, as on a user's machine."""
    import keyring
    from keyring.core import load_keyring

    for name, value in KEYS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TEST_KEYRING", str(tmp_path / "keyring.json"))
    before = keyring.get_keyring()
    keyring.set_keyring(load_keyring("tests.engines.file_keyring.FileKeyring"))
    keyring.set_password(SERVICE, OFFICIAL, KEPT)
    yield [*KEYS.values(), KEPT]
    keyring.set_keyring(before)


def spellings(key: str) -> list[bytes]:
    """As text of several kinds, backwards, and as base64 wherever it may begin."""
    raw = key.encode()
    found = [raw, raw[::-1], key.encode("utf-16-le"), raw.hex().encode()]
    return found + [base64.b64encode(b"\0" * at + raw)[4 if at else 0 : -4] for at in range(3)]


def holding(content: bytes, wanted: list[bytes], name: str, seen: set[bytes] | None = None) -> list[str]:
    """Names of files, in archives too, that hold one of the texts; equal contents are read once."""
    seen = set() if seen is None else seen
    digest = hashlib.sha256(content).digest()
    if digest in seen:
        return []
    seen.add(digest)
    found = [name] if any(one in content for one in wanted) else []
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            for inner in archive.namelist():
                found += holding(archive.read(inner), wanted, f"{name}/{inner}", seen)
    return found


def test_the_search_finds_a_key_however_it_is_written(tmp_path: Path) -> None:
    wanted = spellings(KEPT)
    for text in (KEPT.encode(), b"x" + KEPT.encode()[::-1], base64.b64encode(b"ab" + KEPT.encode() + b"cd")):
        assert holding(text, wanted, "file") == ["file"]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("inside", KEPT * 20)
    assert holding(packed.getvalue(), wanted, "a.zip") == ["a.zip/inside"]


def test_the_process_of_a_package_gets_no_key(keys: list[str], tmp_path: Path) -> None:
    import sys

    done = call([sys.executable, "-c", "import os; print(dict(os.environ))"], 60, tmp_path)
    assert done is not None
    assert "PATH" in done.stdout
    assert not [key for key in keys if key in done.stdout]


@pytest.mark.slow
def test_no_key_is_in_a_package_its_archive_a_hub_folder_or_the_run(keys: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "home" / "runs" / "r"
    recipe = (Step("fewer-steps", {"steps": 4}), Step("engine", {"backend": "onnxruntime"}))
    with begin(folder) as journal:
        add(journal, folder, "c001", recipe)
        started = RunState.replay(Journal.read(folder)).started
        assert started is not None
        agent = events.LlmChoice(model="a model", url=OFFICIAL, usd=1.0)
        journal.append(started.model_copy(update={"agent": agent}))
    assert find_key().value == KEYS["PARETO_STUDIO_LLM_KEY"]
    out = tmp_path / "out"
    out.mkdir()
    exported = export_candidate(folder, "c001", out)
    hub = export_candidate_as(folder, "c001", "hub", out)
    assert exported["proof"]["psnr"] >= 40
    files = [path for path in (*out.rglob("*"), *(tmp_path / "home").rglob("*")) if path.is_file()]
    names = {path.relative_to(tmp_path).as_posix() for path in files}
    for made in (Path(exported["package"]) / "manifest.json", Path(exported["zip"]),
                 Path(hub["package"]) / "package" / "SHA256SUMS", folder / "journal.sqlite"):  # fmt: skip
        assert made.relative_to(tmp_path).as_posix() in names
    wanted = [one for key in keys for one in spellings(key)]
    seen = set[bytes]()
    assert [one for path in files for one in holding(path.read_bytes(), wanted, str(path), seen)] == []
