"""The Windows installer under Wine: installed, failing and mended, opened by its entry, removed.

Wine runs the installer, its scripts and its registry keys.  What it cannot show is uv and Python: small
programs that make the same files stand for them, and a window is never seen.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.packaging.tiny_bundle import ROOT

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        shutil.which("wine") is None or shutil.which("makensis") is None,
        reason="Wine runs what makensis compiles: apt install wine64 nsis",
    ),
]

STAND_IN = """
Unicode true
Target amd64-unicode
SilentInstall silent
RequestExecutionLevel user
OutFile "@OUT@"
Section
    CreateDirectory "$EXEDIR\\..\\window\\Scripts"
    CopyFiles /SILENT "$EXEPATH" "$EXEDIR\\..\\window\\Scripts\\python.exe"
    CopyFiles /SILENT "$EXEPATH" "$EXEDIR\\..\\window\\Scripts\\pythonw.exe"
SectionEnd
"""
"""As uv it makes a window's environment; as the Python in it, it says that everything imports."""


@dataclass(frozen=True)
class Windows:
    """A Windows of its own for a test."""

    base: Path

    def run(self, *command: str | Path) -> subprocess.CompletedProcess[str]:
        environment = {
            **{name: value for name, value in os.environ.items() if name != "DISPLAY"},
            "WINEPREFIX": str(self.base / "wine"),
            "WINEDEBUG": "-all",
            # No part of Wine that would be fetched, and none that needs a screen.
            "WINEDLLOVERRIDES": "mscoree,mshtml=",
        }
        return subprocess.run(
            ["wine", *[str(part) for part in command]],
            env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
            errors="replace", timeout=240,
        )  # fmt: skip

    def user(self) -> Path:
        return next((self.base / "wine" / "drive_c" / "users").glob("[!P]*")) / "AppData"

    @property
    def program(self) -> Path:
        return self.user() / "Local" / "Programs" / "Pareto Studio"

    @property
    def entry(self) -> Path:
        return self.user() / "Roaming/Microsoft/Windows/Start Menu/Programs/Pareto Studio.lnk"

    def leads_to(self, name: str) -> bool:
        """Whether the Start menu's entry names this file, in either of a link's two spellings."""
        content = self.entry.read_bytes()
        return name.encode() in content or name.encode("utf-16-le") in content

    def opens_packages(self) -> str:
        key = r"HKCU\Software\Classes\ParetoStudio.Package\shell\open\command"
        return self.run("reg", "query", key, "/ve").stdout


def compile_program(folder: Path, name: str, script: str) -> Path:
    made = folder / name
    (folder / f"{name}.nsi").write_text(script.replace("@OUT@", str(made)))
    subprocess.run(["makensis", "-V1", folder / f"{name}.nsi"], check=True, capture_output=True)
    return made


@pytest.fixture
def windows(tmp_path: Path) -> Windows:
    found = Windows(tmp_path)
    if found.run("wineboot", "--init").returncode:
        pytest.skip("Wine makes no Windows here.")
    return found


def installer(base: Path, monkeypatch: pytest.MonkeyPatch, *, uv: bytes) -> Path:
    """The real script over a tree with this `uv.exe`."""
    monkeypatch.syspath_prepend(str(ROOT / "packaging" / "installers"))
    source, builder, icon = (importlib.import_module(name) for name in ("source", "windows", "icon"))
    tree = base / "tree"
    for place in (tree / "backend", tree / "wheels"):
        place.mkdir(parents=True)
    (tree / "backend" / "uv.exe").write_bytes(uv)
    (tree / "window.lock").write_text("")
    (tree / "LICENSE.txt").write_text("")
    make = (ROOT / "packaging" / "templates" / "windows-make-window.cmd").read_text()
    make = make.replace("@WHEEL@", "pareto_studio-1.0.0-py3-none-any.whl")
    (tree / "make-window.cmd").write_bytes(make.replace("\n", "\r\n").encode())
    (tree / "pareto-studio.ico").write_bytes(icon.ico(ROOT / "assets" / "icons" / "studio.svg"))
    given = source.Source(ROOT, "1.0.0", 1_790_000_000, "")
    builder.compile_script(given, tree, base / "installer.exe", frozen=False)
    return base / "installer.exe"


def test_a_first_start_that_fails_leaves_an_entry_that_goes_on_and_uninstalling_leaves_nothing(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    setup = installer(tmp_path, monkeypatch, uv=b"no program")
    windows.run(setup, "/S")
    assert (windows.program / "uninstall.exe").exists()
    assert windows.leads_to("make-window.cmd")
    assert not windows.leads_to("pythonw.exe")
    assert "pythonw.exe" not in windows.opens_packages()
    shutil.copyfile(compile_program(tmp_path, "uv.exe", STAND_IN), windows.program / "backend" / "uv.exe")
    mended = windows.run("cmd", "/c", "call", windows_path(windows, "make-window.cmd"), "repair")
    assert "Ready." in mended.stdout
    assert windows.leads_to("pythonw.exe")
    assert "pythonw.exe" in windows.opens_packages()
    assert '"%1"' in windows.opens_packages()
    remove(windows)


def test_an_installation_makes_the_window_and_its_entry_opens_it(
    windows: Windows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stand_in = compile_program(tmp_path, "uv.exe", STAND_IN).read_bytes()
    windows.run(installer(tmp_path, monkeypatch, uv=stand_in), "/S")
    assert windows.leads_to("pythonw.exe")
    assert "pythonw.exe" in windows.opens_packages()
    remove(windows)


def windows_path(windows: Windows, name: str) -> str:
    below = (windows.program / name).relative_to(windows.base / "wine" / "drive_c")
    return "C:\\" + "\\".join(below.parts)


def remove(windows: Windows) -> None:
    windows.run(windows_path(windows, "uninstall.exe"), "/S", f"_?={windows_path(windows, '')[:-1]}")
    # With `_?` it stays where it is until it has ended, and cannot take itself away.
    left = {path.name for path in windows.program.rglob("*")} if windows.program.exists() else set()
    assert left <= {"uninstall.exe"}
    assert not windows.entry.exists()
    assert windows.run("reg", "query", r"HKCU\Software\Classes\.pareto").returncode
    assert windows.run("reg", "query", r"HKCU\Software\Pareto Studio").returncode
