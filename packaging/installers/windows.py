"""Windows: an NSIS installer.

On Windows the window is frozen, as on Linux.  Elsewhere the installer is assembled from Windows wheels and
`uv.exe`: PyInstaller builds for no other system, and the user's machine makes the window's environment.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import archive
import icon
import signing
from source import (
    BuildError,
    Made,
    Source,
    backend,
    build_environment,
    download,
    template,
    uv_from_wheel,
    uv_of_this_system,
    window_kib,
)
from window import check_imports, freeze, smoke

PLATFORM = "win_amd64"
PYTHON = "3.12"


def build(source: Source, work: Path, out: Path) -> Made:
    """The `.exe` in `out`."""
    if shutil.which("makensis") is None:
        raise BuildError("makensis is not installed; on Debian: apt install nsis")
    tree = work / "windows" / "tree"
    shutil.rmtree(tree.parent, ignore_errors=True)
    tree.mkdir(parents=True)
    (tree / "pareto-studio.ico").write_bytes(icon.ico(source.folder / "assets" / "icons" / "studio.svg"))
    frozen = sys.platform == "win32"
    if frozen:
        shutil.copytree(freeze(source, work, tree / "pareto-studio.ico"), tree / "window")
        backend(source, tree / "backend", uv=uv_of_this_system(), uv_name="uv.exe")
        smoke(source, tree / "window" / "pareto-studio-console.exe")
    else:
        assemble(source, work, tree)
    shutil.copyfile(source.folder / "LICENSE", tree / "LICENSE.txt")
    said = signing.sign_inside(tree)
    archive.set_dates(tree, source.epoch)
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"pareto-studio-{source.version}-windows-x86_64.exe"
    compile_script(source, tree, target, frozen=frozen)
    return Made([*said, signing.sign(target, "windows")], {"windows": "10"})


def assemble(source: Source, work: Path, tree: Path) -> None:
    """Wheels of the window, uv, backend, and the script that makes the window's environment from them."""
    check_imports(source)
    lock = (source.folder / "packaging" / "window.lock").read_text(encoding="utf-8")
    download(lock, PLATFORM, tree / "wheels", PYTHON)
    shutil.copyfile(source.folder / "packaging" / "window.lock", tree / "window.lock")
    backend(source, tree / "backend", uv=uv_from_wheel(PLATFORM, work), uv_name="uv.exe")
    make = template(source, "windows-make-window.cmd")
    wheel = next((tree / "backend").glob("pareto_studio-*.whl")).name
    (tree / "make-window.cmd").write_bytes(make.replace("@WHEEL@", wheel).replace("\n", "\r\n").encode())


def compile_script(source: Source, tree: Path, target: Path, *, frozen: bool) -> None:
    """Have `makensis` compile the installer of a tree.

    Raises:
        BuildError: it found something wrong, or its uninstaller could not be signed.
    """
    size = sum(path.stat().st_size for path in archive.walk(tree) if path.is_file()) // 1024
    values = {
        "@VERSION@": source.version,
        "@ICON@": str(tree / "pareto-studio.ico"),
        "@FILES@": str(tree / "*.*"),
        "@OUT@": str(target),
        "@FROZEN@": "!define FROZEN" if frozen else "",
        "@SIGN_UNINSTALLER@": sign_line() if signing.configured("windows") else "",
        "@KIB@": str(size),
        # The directory page asks for the room that the environment takes, too.
        "@MORE_KIB@": str(0 if frozen else window_kib(tree / "wheels")),
    }
    text = template(source, "windows.nsi")
    for name, value in values.items():
        text = text.replace(name, value)
    script = tree.parent / "installer.nsi"
    script.write_text(text, encoding="utf-8")
    done = subprocess.run(
        ["makensis", "-V2", "-WX", str(script)],
        env=build_environment(source), capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        lines = (done.stdout + done.stderr).strip().splitlines() or ["it said nothing"]
        raise BuildError(f"makensis stopped: {lines[-1]}")


def sign_line() -> str:
    """What the compiler runs on the uninstaller, which nobody has before it is inside the installer."""
    here = Path(signing.__file__).resolve()
    return f"""!uninstfinalize '"{sys.executable}" "{here}" windows "%1"' = 0"""
