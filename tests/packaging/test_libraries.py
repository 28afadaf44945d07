"""What the Linux installers leave to the system, and what they ask of it: read from real libraries."""

from __future__ import annotations

import importlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from tests.packaging.tiny_bundle import ROOT

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="for Linux"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="it compiles libraries: apt install gcc"),
]


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "packaging" / "installers"))
    return importlib.import_module("libraries")


def library(path: Path, *linked: Path, code: str = "") -> Path:
    """A shared library that is linked with others, whether it uses them or not."""
    path.parent.mkdir(parents=True, exist_ok=True)
    command = [
        "cc",
        "-shared",
        "-fPIC",
        f"-Wl,-soname,{path.name},--no-as-needed",
        "-x",
        "c",
        "-",
        "-x",
        "none",
    ]
    subprocess.run(
        [*command, *map(str, linked), "-o", str(path)], input=code, text=True, check=True, capture_output=True
    )
    return path


@pytest.fixture
def window(tmp_path: Path) -> Path:
    """As PyInstaller leaves it: a plugin for GTK with GTK's own libraries, and the program's module."""
    inside = tmp_path / "window" / "_internal"
    leaf = library(inside / "libleaf.so.1")
    shared = library(inside / "libshared.so.1")
    cairo = library(inside / "libcairo.so.2", leaf, shared)
    zlib = library(inside / "libz.so.1")
    away = library(tmp_path / "libgtk-3.so.0")
    library(inside / "PySide6" / "Qt" / "plugins" / "platformthemes" / "libqgtk3.so", cairo, away)
    library(
        inside / "module.so", shared, zlib, code="#include <math.h>\ndouble f(double x) { return sqrt(x); }"
    )
    (inside / "PySide6" / "libz.so.1").symlink_to("../libz.so.1")
    library(inside / "libpython3.11.so.1.0")  # the program itself opens it, and nothing is linked with it
    (inside / "notes.so").write_text("no library")
    return tmp_path / "window"


def test_what_a_desktop_has_goes_with_what_only_that_needed(libraries: ModuleType, window: Path) -> None:
    assert libraries.leave_out(window) == ["libcairo.so.2", "libleaf.so.1", "libz.so.1"]
    left = {path.name for path in window.rglob("*.so*")}
    assert left == {"libqgtk3.so", "module.so", "libshared.so.1", "libpython3.11.so.1.0", "notes.so"}
    found = libraries.asked_by(window)
    assert found.libraries == {"libz.so.1": "zlib1g"}
    assert found.depends == [f"libc6 (>= {found.glibc})", "zlib1g"]


def test_a_library_that_nobody_names_stops_the_build(libraries: ModuleType, window: Path) -> None:
    source = importlib.import_module("source")
    (window / "_internal" / "libshared.so.1").unlink()
    with pytest.raises(
        source.BuildError, match=r"needs libshared\.so\.1, which is not in the window's folder"
    ):
        libraries.asked_by(window)


def test_a_symbol_of_a_newer_system_stops_the_build(
    libraries: ModuleType, window: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = importlib.import_module("source")
    newer = library(
        window / "_internal" / "libnewer.so.1",
        code='__asm__(".symver f, clock_gettime@GLIBC_2.17");\nvoid f(void); void g(void) { f(); }',
    )
    assert libraries.asked_by(window).glibc == "2.17"
    monkeypatch.setitem(libraries.OLDEST, "GLIBC", (2, 16))
    with pytest.raises(
        source.BuildError, match=rf"{newer.name} needs GLIBC_2\.17, and Ubuntu 22\.04 ends at"
    ):
        libraries.asked_by(window)
