"""The assembled Mac app's launcher, a shell's script with uv: run here with both, without Apple's dialog."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.engines.test_package_pythons import python
from tests.packaging.tiny_bundle import ROOT, digest, find_uv, wheel

pytestmark = pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's script")

BUNDLED = (
    "import os, sys\nprint('opened', os.path.basename(os.environ['PARETO_STUDIO_BUNDLE']), sys.argv[1:])\n"
)


@dataclass
class App:
    """An app with tiny wheels, and a home."""

    folder: Path
    home: Path
    path: str
    """Where uv finds the Python that it is asked for; none is fetched here."""

    @property
    def data(self) -> Path:
        return self.home / "Library" / "Application Support" / "pareto-studio"

    @property
    def program(self) -> Path:
        return self.folder / "Contents" / "MacOS" / "pareto-studio"

    def begin(self, *given: str) -> subprocess.Popen[str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
        return subprocess.Popen(
            ["sh", self.program, *given],
            env={**kept, "HOME": str(self.home), "UV_OFFLINE": "1", "PATH": self.path},
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip

    def start(self, *given: str) -> tuple[str, str]:
        process = self.begin(*given)
        out, error = process.communicate(timeout=120)
        return out, error


def make(base: Path, monkeypatch: pytest.MonkeyPatch, kib: int = 1) -> App:
    path = f"{python('3.12').parent}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.syspath_prepend(str(ROOT / "packaging" / "installers"))
    macos, source = importlib.import_module("macos"), importlib.import_module("source")
    monkeypatch.setattr(macos, "window_kib", lambda _: kib)
    app = App(base / 'Моё 机器 "Ω".app', base / "home's", path)
    resources = app.folder / "Contents" / "Resources"
    for place in (resources / "wheels", resources / "backend", app.program.parent, app.home):
        place.mkdir(parents=True)
    helper = wheel(resources / "wheels", "helper", "1.2", {"helper.py": ""})
    (resources / "window.lock").write_text(f"helper==1.2 --hash=sha256:{digest(helper)}\n")
    parts = {"studio/__init__.py": "", "studio/ui/__init__.py": "", "studio/ui/bundled.py": BUNDLED}
    wheel(resources / "backend", "pareto-studio", "1.0", parts)
    (resources / "backend" / "uv").symlink_to(find_uv())
    given = source.Source(ROOT, "1.0", 1_790_000_000, "")
    app.program.write_text(macos.launcher(given, resources / "wheels"), encoding="utf-8")
    return app


def test_the_first_start_makes_the_window_and_the_next_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make(tmp_path, monkeypatch)
    (app.data / "window-0.9").mkdir(parents=True)
    assert app.start("a b.pareto") == ("opened backend ['a b.pareto']\n", "")
    assert not (app.data / "window-0.9").exists()
    assert not list(app.data.glob("*.making"))
    shutil.rmtree(app.folder / "Contents" / "Resources" / "wheels")
    assert app.start() == ("opened backend []\n", "")


def test_a_second_first_start_waits_and_one_that_was_killed_is_taken_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make(tmp_path, monkeypatch)
    app.data.mkdir(parents=True)
    lock = app.data / "window.making"
    lock.write_text(f"{os.getpid()}\n")
    out, error = app.start()
    assert (out, lock.read_text()) == ("", f"{os.getpid()}\n")
    assert error == (
        f"Pareto Studio is being prepared already (process {os.getpid()}); wait until it has finished.\n"
    )
    gone = subprocess.Popen(["true"])
    gone.wait()
    lock.write_text(f"{gone.pid}\n")
    assert app.start()[0] == "opened backend []\n"


def test_two_first_starts_at_once_make_one_window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = make(tmp_path, monkeypatch)
    ends = [process.communicate(timeout=120) for process in [app.begin(), app.begin()]]
    for out, error in ends:
        assert out == "opened backend []\n" or "is being prepared already" in error
    assert any(out for out, _ in ends)
    assert app.start() == ("opened backend []\n", "")


def test_too_little_room_is_said_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make(tmp_path, monkeypatch, kib=1 << 50)
    _, error = app.start()
    assert "MiB free; free some space and open Pareto Studio again." in error
    assert not list(app.data.glob("window*"))


def test_without_a_network_and_python_it_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = make(tmp_path, monkeypatch)
    lock = app.folder / "Contents" / "Resources" / "window.lock"
    lock.write_text(lock.read_text().replace("helper==1.2", "helper==1.3"))
    assert app.start()[1].endswith("(Python 3.12 is fetched once) and open it again.\n")
    assert not list(app.data.glob("*.making"))
    lock.write_text(lock.read_text().replace("helper==1.3", "helper==1.2"))
    assert app.start() == ("opened backend []\n", "")
