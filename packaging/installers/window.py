"""The window as a PyInstaller folder, and the proof that it needs no torch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from source import BuildError, Source, build_environment

HEAVY = (
    "torch",
    "torchvision",
    "diffusers",
    "transformers",
    "openvino",
    "onnx",
    "onnxruntime",
    "nncf",
    "scipy",
    "optuna",
    "accelerate",
    "triton",
    "timm",
    "PIL",
    "matplotlib",
    "cupy",
    "numba",
    "h5py",
    "IPython",
    "tkinter",
    "PyQt5",
    "PyQt6",
    "PySide2",
    "OpenGL",
    "studio.work",
    "engines",
    "agent",
    "pytest",
    "setuptools",
    "pyqtgraph.opengl",
    "pyqtgraph.examples",
    "pyqtgraph.console",
    "pyqtgraph.jupyter",
    "pyqtgraph.flowchart",
)
"""Left out of the folder, and refused by the import check."""

START = 2.0
"""Seconds from a start to the window; other work on the machine does not count into a processor's time."""

_CHECK = """
import importlib, pkgutil, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in set(sys.argv[2].split(",")) or name.startswith("studio.work"):
            raise ImportError(name + " is not in the window")
        return None
sys.meta_path.insert(0, Refuse())
sys.path.insert(0, sys.argv[1])
import studio.ui, studio.record, studio.plan, studio.setup
for package in (studio.ui, studio.record, studio.plan, studio.setup):
    for found in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
"""


def check_imports(source: Source) -> None:
    """Import every module of the window where nothing heavy can be imported.

    Raises:
        BuildError: one of them needs it.
    """
    refused = ",".join(name for name in HEAVY if "." not in name)
    done = subprocess.run(
        [sys.executable, "-c", _CHECK, str(source.folder), refused],
        env=build_environment(source),
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise BuildError(
            f"The window would need what it does not ship: {done.stderr.strip().splitlines()[-1]}"
        )


def freeze(source: Source, build: Path, icon: Path | None = None) -> Path:
    """The folder with the program `pareto-studio` (macOS: the `.app`).

    On Windows a program is either one with a window or one that a terminal hears: `pareto-studio-console`
    beside the first is the second, over the same files.
    """
    check_imports(source)
    shutil.rmtree(build / "frozen", ignore_errors=True)
    made = _frozen(source, build, "pareto-studio", icon, terminal=False)
    if sys.platform == "win32":
        twin = _frozen(source, build, "pareto-studio-console", icon, terminal=True)
        shutil.move(twin / "pareto-studio-console.exe", made)
    carried = [name for name in ("torch", "scipy", "diffusers") if any(made.rglob(name))]
    if carried:
        raise BuildError(f"The window's folder carries {', '.join(carried)}; see what imports it.")
    return made


def _frozen(source: Source, build: Path, name: str, icon: Path | None, *, terminal: bool) -> Path:
    start = build / "pareto_studio_window.py"
    start.write_text(
        "import os, sys\n"
        'os.environ.setdefault("QT_LOGGING_RULES", "qt.qpa.*=false")\n'
        "from studio.ui.bundled import main\n"
        "sys.exit(main())\n",
        encoding="utf-8",
    )
    command = [
        sys.executable, "-m", "PyInstaller", "--noconfirm", "--log-level", "WARN", "--onedir", "--noupx",
        "--name", name,
        "--distpath", str(build / "frozen"),
        "--workpath", str(build / "work"),
        "--specpath", str(build),
        "--paths", str(source.folder),
    ]  # fmt: skip
    for package in ("studio.ui", "studio.record", "studio.plan", "studio.setup"):
        command += ["--collect-submodules", package]
    for heavy in HEAVY:
        command += ["--exclude-module", heavy]
    icons = source.folder / "assets" / "icons"
    command += ["--add-data", f"{icons}{os.pathsep}assets/icons"]
    if sys.platform in {"darwin", "win32"} and not terminal:
        command += ["--windowed"]
    if icon is not None:
        command += ["--icon", str(icon)]
    if sys.platform == "darwin":
        command += ["--osx-bundle-identifier", "studio.pareto.window"]
    # Submodules are found by importing them, which `--paths` alone does not make possible.
    environment = {**build_environment(source), "PYTHONPATH": str(source.folder)}
    subprocess.run([*command, str(start)], check=True, env=environment, cwd=build)
    return build / "frozen" / (f"{name}.app" if sys.platform == "darwin" else name)


def smoke(source: Source, program: Path) -> None:
    """Start the built program beside its backend until its window is shown.

    Raises:
        BuildError: it did not, said anything else, or took more than `START` of a processor's time.
    """
    before = _used()
    with tempfile.TemporaryDirectory() as home:
        done = subprocess.run(
            [program, "--smoke", "--home", home],
            env=build_environment(source),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    if done.returncode or done.stdout.strip() != "window shown" or done.stderr.strip():
        last = (done.stderr.strip() or done.stdout.strip() or "nothing").splitlines()[-1]
        raise BuildError(f"The built window did not start (status {done.returncode}): {last}")
    if (used := _used() - before) > START:
        raise BuildError(
            f"The built window takes {used:.1f} s of a processor to open, and {START:g} s are promised; "
            "see what it imports."
        )


def _used() -> float:
    """Seconds of a processor that programs started from here took; Windows counts none."""
    times = os.times()
    return times.children_user + times.children_system
