"""Windows: an NSIS installer, assembled from Windows wheels and `uv.exe`.

The user's machine makes the window's environment from the wheels that it carries.

On Windows itself the window could be frozen like Linux'; the assembled one is the same on every builder.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import archive
import icon
from signing import sign
from source import BuildError, Source, backend, build_environment, download, uv_from_wheel
from window import check_imports

PLATFORM = "win_amd64"
PYTHON = "3.12"


def build(source: Source, work: Path, out: Path) -> list[str]:
    """The `.exe` in `out`; sentences about signatures."""
    if shutil.which("makensis") is None:
        raise BuildError("makensis is not installed; on Debian: apt install nsis")
    check_imports(source)
    tree = assemble(source, work)
    script = tree.parent / "installer.nsi"
    text = (source.folder / "packaging" / "templates" / "windows.nsi").read_text(encoding="utf-8")
    out.mkdir(parents=True, exist_ok=True)
    target = out / f"pareto-studio-{source.version}-windows-x86_64.exe"
    size = sum(path.stat().st_size for path in archive.walk(tree) if path.is_file()) // 1024
    values = {"@VERSION@": source.version, "@TREE@": str(tree), "@OUT@": str(target), "@KIB@": str(size)}
    for name, value in values.items():
        text = text.replace(name, value)
    script.write_text(text, encoding="utf-8")
    subprocess.run(["makensis", "-V2", "-WX", str(script)], check=True, env=build_environment(source))
    return [sign(target, "windows")]


def assemble(source: Source, work: Path) -> Path:
    """The folder that is installed: wheels of the window, uv, backend, icon, scripts."""
    tree = work / "windows" / "tree"
    shutil.rmtree(tree.parent, ignore_errors=True)
    tree.mkdir(parents=True)
    lock = (source.folder / "packaging" / "window.lock").read_text(encoding="utf-8")
    download(lock, PLATFORM, tree / "wheels", PYTHON)
    shutil.copyfile(source.folder / "packaging" / "window.lock", tree / "window.lock")
    backend(source, tree / "backend", uv=uv_from_wheel(PLATFORM, work), uv_name="uv.exe")
    (tree / "pareto-studio.ico").write_bytes(icon.ico(source.folder / "assets" / "icons" / "studio.svg"))
    templates = source.folder / "packaging" / "templates"
    make = (templates / "windows-make-window.cmd").read_text(encoding="utf-8")
    wheel = next((tree / "backend").glob("pareto_studio-*.whl")).name
    (tree / "make-window.cmd").write_bytes(make.replace("@WHEEL@", wheel).replace("\n", "\r\n").encode())
    shutil.copyfile(source.folder / "LICENSE", tree / "LICENSE.txt")
    archive.set_dates(tree, source.epoch)
    return tree
