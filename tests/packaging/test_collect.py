"""A wheelhouse for another machine, collected from a real index on loopback by the real uv and pip."""

from __future__ import annotations

import ensurepip
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from studio.errors import Cancelled, SetupError
from studio.setup import lock, wheelhouse
from studio.setup.bundle import Bundle
from studio.setup.collect import Collect, Request
from studio.setup.make import Order, Setup
from tests.packaging.test_setup_network import Index, index, parts
from tests.packaging.tiny_bundle import ROOT, Parts, digest, wheel

__all__ = ["index", "parts"]

PIP = next(
    (one for place in (Path(ensurepip.__file__).parent / "_bundled", Path("/usr/share/python-wheels"))
     for one in place.glob("pip-*.whl")), None,
)  # fmt: skip
HERE = f"{sys.version_info.major}.{sys.version_info.minor}"

pytestmark = pytest.mark.skipif(PIP is None, reason="this Python brings no pip for the index to offer")


@pytest.fixture
def bundle(index: Index, parts: Parts, monkeypatch: pytest.MonkeyPatch) -> Bundle:
    """With a package that only Windows needs, and one in another version for an old Python."""
    assert PIP is not None
    shutil.copy(PIP, index.wheels)
    made = parts.bundle()
    only = wheel(index.wheels, "winonly", "3.1", {"winonly.py": ""}, "cp312-cp312-win_amd64")
    old = wheel(index.wheels, "helper", "0.9", {"helper.py": ""})
    with made.lock.open("a") as file:
        file.write(f"helper==0.9 ; python_full_version < '3.9' \\\n    --hash=sha256:{digest(old)}\n")
        file.write(f"winonly==3.1 ; sys_platform == 'win32' \\\n    --hash=sha256:{digest(only)}\n")
    contents = json.loads((made.folder / "bundle.json").read_text())
    contents["lock_sha256"] = digest(made.lock)
    (made.folder / "bundle.json").write_text(json.dumps(contents))
    monkeypatch.setenv("PIP_INDEX_URL", f"{index.address}/simple")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_RETRIES", "0")
    return Bundle(made.folder)


def collect(parts: Parts, bundle: Bundle, folder: Path, system: str, python: str = HERE) -> Collect:
    request = Request(folder, system, python)
    return Collect(bundle, request, lambda *step: parts.steps.append(step[2]), parts.said.append)


def test_a_wheelhouse_for_windows_and_one_for_here_that_the_first_run_takes(
    parts: Parts, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, near = parts.base / "für Windows 家", parts.base / "for here"
    said = collect(parts, bundle, away, "windows", "3.12").run()
    assert said.startswith("4 wheels, ")
    assert "for windows with Python 3.12" in said
    assert {path.name for path in away.iterdir()} == {
        "SHA256SUMS",
        "helper-1.2-py3-none-any.whl",
        "torch-2.0-py3-none-any.whl",
        "torchvision-0.5-py3-none-any.whl",
        "winonly-3.1-cp312-cp312-win_amd64.whl",
    }
    pins = lock.pins(bundle.lock.read_text())
    assert wheelhouse.fits(away, pins)
    assert "Fetching helper" in parts.steps
    with pytest.raises(
        SetupError, match="holds wheels of another machine or version; choose an empty folder"
    ):
        collect(parts, bundle, away, "windows", "3.13").run()
    if sys.platform != "linux":
        return
    assert collect(parts, bundle, near, "linux").run().startswith("3 wheels, ")
    assert not list(near.glob("winonly*"))
    for name in ("UV_DEFAULT_INDEX", "PIP_INDEX_URL"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/simple")
    order = Order(parts.folder, near)
    assert Setup(bundle, parts.home, order, lambda *_: None, parts.said.append).run().condition == "ready"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="collected for Linux")
def test_what_was_fetched_stays_when_the_connection_is_cut_and_the_next_try_goes_on(
    parts: Parts, bundle: Bundle, index: Index
) -> None:
    folder = parts.base / "wheels"
    index.cuts["torchvision"] = 100
    with pytest.raises(SetupError) as caught:
        collect(parts, bundle, folder, "linux").run()
    assert "\n" not in str(caught.value)
    assert not (folder / "SHA256SUMS").exists()
    index.cuts.clear()
    served = index.served["helper"]
    assert collect(parts, bundle, folder, "linux").run().startswith("3 wheels, ")
    assert index.served["helper"] == served
    index.shutdown()
    index.server_close()
    with pytest.raises(SetupError, match="The package index cannot be reached"):
        collect(parts, bundle, parts.base / "other", "linux").run()


def test_it_can_be_stopped_and_says_what_cannot_be_collected(parts: Parts, bundle: Bundle) -> None:
    one = collect(parts, bundle, parts.base / "wheels", "linux")
    one.cancel()
    with pytest.raises(Cancelled):
        one.run()
    command = [sys.executable, "-m", "studio.setup", "--bundle", str(bundle.folder), "--collect"]
    asked = {
        "--system macos --torch cu130": "For macos PyTorch is collected as auto",
        "--system linux --torch cu128": "For linux PyTorch is collected as auto or cpu",
    }
    for words, sentence in asked.items():
        done = subprocess.run(
            [*command, str(parts.base / "x"), *words.split()],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode == 1
        assert sentence in done.stderr
        assert "Traceback" not in done.stderr
    (parts.base / "file").write_text("")
    with pytest.raises(SetupError, match="cannot be written"):
        collect(parts, bundle, parts.base / "file" / "below", "linux").run()
