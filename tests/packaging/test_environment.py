"""What ./start and ./check do first, on machines that are not this one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell's script")

SCRIPT = Path(__file__).parents[2] / "packaging" / "environment.sh"
VENV_FAILS = """case "$*" in
"-m venv .uv") mkdir -p .uv/bin && echo "ensurepip is not available"; exit 1 ;;
"""
PIP_FILLS_A_FOLDER = """"-m pip --version") exit 0 ;;
*"--target .uv uv") [ ! -e .uv ] && mkdir -p .uv/bin && touch .uv/bin/uv && chmod +x .uv/bin/uv ;;
"""
NOTHING_ELSE = "*) exit 1 ;;\nesac\n"


def told(folder: Path, order: str, **programs: str) -> subprocess.CompletedProcess[str]:
    """A line of shell after the script, with programs that answer as another machine's would."""
    for name, body in programs.items():
        program = folder / name.replace("_", "-")
        program.write_text("#!/bin/sh\n" + body)
        program.chmod(0o755)
    return subprocess.run(
        ["sh", "-euc", f". {SCRIPT}; {order}"],
        check=False,
        capture_output=True,
        text=True,
        timeout=30,
        cwd=folder,
        env={**os.environ, "PATH": f"{folder}:/usr/bin:/bin"},
    )


def test_a_python_without_venv_gets_uv_by_its_pip(tmp_path: Path) -> None:
    debians = VENV_FAILS + PIP_FILLS_A_FOLDER + NOTHING_ELSE
    done = told(tmp_path, "get_uv ./bare", bare=debians)
    assert done.returncode == 0, done.stderr
    assert os.access(tmp_path / ".uv" / "bin" / "uv", os.X_OK)


def test_a_python_without_venv_and_pip_is_told_what_to_install(tmp_path: Path) -> None:
    done = told(tmp_path, "get_uv ./bare", bare=VENV_FAILS + NOTHING_ELSE)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith("apt install python3-venv")


def test_what_the_installers_tests_lack_is_said_tool_by_tool(tmp_path: Path) -> None:
    bare = "command() { return 1; }; install_packages() { return 1; }; ensure_installer_tools"
    done = told(tmp_path, bare, uname="echo Linux\n")
    assert done.returncode == 0
    lines = done.stderr.splitlines()
    assert [line.split()[1] for line in lines] == ["debootstrap", "makensis", "7z", "osslsigncode", "wine"]
    assert all(line.endswith(").") and "sudo apt install" in line for line in lines)


@pytest.mark.parametrize("there", ["libglib2.0-0", "libglib2.0-0t64"])
def test_a_library_counts_under_either_of_its_names(tmp_path: Path, there: str) -> None:
    query = f'for name in "$@"; do [ "$name" = {there} ] && echo "install ok installed"; done; exit 1\n'
    done = told(tmp_path, "missing_packages libgl1 libglib2.0-0", dpkg_query=query)
    assert done.stdout.split() == ["libgl1"]
