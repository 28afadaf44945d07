"""The installed program: the window whole and small, its worker in an environment made on first run.

pareto-studio                     the window
pareto-studio PACKAGE.pareto      the window, with the package checked on the Export step
pareto-studio setup [--make ...]  the engines' environment: repair, move, offline, by command
pareto-studio COMMAND ...         the same work by command, in the environment
"""

from __future__ import annotations

import argparse
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from studio.errors import SetupError
from studio.record.folders import home as default_home
from studio.setup import environment
from studio.setup.bundle import Bundle, shipped


def is_command(given: list[str]) -> bool:
    """Whether this is work by command: a plain word that is neither `setup` nor a file here."""
    return (
        bool(given)
        and given[0].replace("-", "a").isalpha()
        and given[0] != "setup"
        and given[0][0] != "-"
        and not Path(given[0]).exists()
    )


def own_libraries_only() -> None:
    """Give child processes the library path that was there before this program set its own.

    PyInstaller's bootloader keeps it in `LD_LIBRARY_PATH_ORIG`.  A user's
    `PYTHONPATH` is not for the engines.
    """
    for name in ("PYTHONPATH", "PYTHONHOME"):
        os.environ.pop(name, None)
    before = os.environ.pop("LD_LIBRARY_PATH_ORIG", None)
    if before is not None:
        os.environ["LD_LIBRARY_PATH"] = before
    elif getattr(sys, "frozen", False):
        os.environ.pop("LD_LIBRARY_PATH", None)


def worker_program(python: str | Path) -> list[str]:
    """`-P`: a folder named `studio` where the program was started must not be taken for ours."""
    return [str(python), "-P", "-m", "studio.work.worker"]


def setup_program(bundle: Bundle) -> list[str]:
    mine = (
        [sys.executable, "setup"] if getattr(sys, "frozen", False) else [sys.executable, "-m", "studio.setup"]
    )
    return [*mine, "--bundle", str(bundle.folder)]


def surroundings(home: Path, bundle: Bundle) -> dict[str, str]:
    """Variables for what runs in the engines' environment: how it proves a package, and what completes it."""
    program = Path(sys.executable)
    # Windows' programs with a window say nothing in a terminal.
    heard = {"pythonw.exe": "python.exe", "pareto-studio.exe": "pareto-studio-console.exe"}
    program = program.with_name(heard.get(program.name, program.name))
    words = [str(program), "setup"] if getattr(sys, "frozen", False) else [str(program), "-m", "studio.setup"]
    line = subprocess.list2cmdline(words) if sys.platform == "win32" else shlex.join(words)
    return {**environment.surroundings(home, bundle), "PARETO_STUDIO_SETUP": line}


def main(arguments: list[str] | None = None) -> int:
    """The exit status."""
    own_libraries_only()
    given = sys.argv[1:] if arguments is None else arguments
    if given[:1] == ["setup"] and given != ["setup"]:
        from studio.setup.__main__ import main as setup

        return setup(given[1:])
    try:
        place = shipped()
        if place is None:
            raise SetupError("This program has lost its parts; install Pareto Studio again.", again=False)
        bundle = Bundle(place)
        if is_command(given):
            return _by_command(bundle, given)
    except SetupError as error:
        if is_command(given):
            print(error, file=sys.stderr)
            return 1
        return _say(str(error))
    return _window(bundle, given)


def _by_command(bundle: Bundle, given: list[str]) -> int:
    found = environment.state(default_home(), bundle)
    if found.python is None:
        raise SetupError(f"{found.text} Open Pareto Studio, or run: pareto-studio setup --make")
    around = {**os.environ, **surroundings(default_home(), bundle)}
    return subprocess.run([found.python, "-P", "-m", "studio", *given], check=False, env=around).returncode


def _say(text: str) -> int:
    print(text, file=sys.stderr)
    from PySide6.QtWidgets import QMessageBox

    from studio.ui.app import application

    application()
    QMessageBox.critical(None, "Pareto Studio", text)
    return 1


def _window(bundle: Bundle, given: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="pareto-studio", description="Open the window.")
    parser.add_argument(
        "what", nargs="?", default="", help="a package to check, or `setup` to repair the engines"
    )
    parser.add_argument("--home", type=Path, default=None, help="folder of runs and settings")
    parser.add_argument("--smoke", action="store_true", help="show the window, say so, and end")
    options = parser.parse_args(given)
    folder = (options.home or default_home()).expanduser().absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        return _say(
            f"The folder {folder} cannot be made ({error.strerror or error}); "
            "choose another with --home or PARETO_STUDIO_HOME."
        )
    from PySide6.QtCore import QTimer

    from studio.ui.app import application
    from studio.ui.garbage import Collector
    from studio.ui.opening import FileOpener

    app = application()
    collector = Collector(app)
    app.setQuitOnLastWindowClosed(True)
    opened = Opened(bundle, folder, package=options.what if options.what != "setup" else "")
    if sys.platform == "darwin":
        FileOpener(app, opened.open_package)
    signal.signal(signal.SIGINT, lambda *_: opened.window.close())
    awake = QTimer(interval=200)
    awake.timeout.connect(lambda: None)
    awake.start()
    opened.show(repair=options.what == "setup", quit_then=options.smoke)
    status = app.exec()
    collector.stop()
    return status


class Opened:
    """The window with its two processes: the worker, and the setup where it is needed."""

    def __init__(self, bundle: Bundle, home: Path, *, package: str = "") -> None:
        from studio.ui.bridge import Worker
        from studio.ui.sitting import Sitting
        from studio.ui.window import Window

        self._bundle, self._home, self._package = bundle, home, package
        self._begun = False
        self._dialog: Any = None
        self._python = ""
        self._wished = False
        """Whether the setup was asked for though nothing was wrong."""
        self.worker = Worker(home, [sys.executable])
        self.setup = Worker(home, setup_program(bundle))
        self.window = Window(Sitting(home), self.worker)
        self.worker.outdated.connect(lambda _: self.ask("outdated"))
        self.worker.ready.connect(lambda _: self._open_package())
        self.window.commands.on("file.engines", self._repair)

    def show(self, *, repair: bool = False, quit_then: bool = False) -> None:
        from PySide6.QtCore import QTimer

        self.window.show()
        if quit_then:
            QTimer.singleShot(0, self._smoke)
            return
        found = environment.state(self._home, self._bundle)
        if found.python is not None and not repair:
            self._python = str(found.python)
            QTimer.singleShot(0, self._begin)
        else:
            QTimer.singleShot(0, lambda: self.ask("damaged" if repair and found.python else found.condition))

    def ask(self, condition: environment.Condition) -> None:
        """Show the setup dialog over the window."""
        from studio.setup.__main__ import as_result
        from studio.ui.first_run import FirstRun

        if self._dialog is not None:
            return
        found = as_result(environment.state(self._home, self._bundle))
        if condition == "outdated" and found["condition"] == "ready":
            found["text"] = (
                "The engines speak another protocol than this window: two versions are mixed. "
                "Update them; your runs stay as they are."
            )
        found["condition"] = condition
        self.worker.close(500)
        self._dialog = FirstRun(self.setup, found, self.window)
        self._dialog.made.connect(self._on_made)
        self._dialog.finished.connect(self._on_closed)
        self._dialog.open()

    def _repair(self) -> None:
        """Let the user repair or move the engines; not while they are at work."""
        if self.worker.busy:
            self.window.message.say(
                "The engines are at work. Stop what they do, or wait for it, and then repair or move them.",
                "warning",
            )
            return
        self._wished = True
        self.ask("ready")

    def _on_made(self, python: str) -> None:
        self._python = python

    def _on_closed(self, result: int) -> None:
        self._dialog.deleteLater()
        self._dialog = None
        self.setup.close()
        wished, self._wished = self._wished, False
        if wished and not result:
            self._go_on()
        elif result and self._python:
            self._begin()
        elif not self._python:
            self.window.close()

    def _go_on(self) -> None:
        """After a setup that was called off: with the engines as they are now, if they still run."""
        found = environment.state(self._home, self._bundle)
        if found.python is None:
            self.window.message.say(f"{found.text} See File, Repair or move the engines.", "error")
            return
        self._python = str(found.python)
        self._begin()

    def _begin(self) -> None:
        around = surroundings(self._home, self._bundle)
        self.worker.use(worker_program(self._python), around)
        if self._begun:
            self.worker.restart()
        else:
            self._begun = True
            self.window.begin()

    def open_package(self, package: Path) -> None:
        """Show a package; where the engines are still to be set up, once they are."""
        if self.worker.is_ready:
            self.window.open_package(package)
        else:
            self._package = str(package)

    def _open_package(self) -> None:
        package, self._package = self._package, ""
        if package:
            self.window.open_package(Path(package))

    def _smoke(self) -> None:
        from PySide6.QtWidgets import QApplication

        print("window shown", flush=True)
        self.window.close()
        QApplication.quit()


if __name__ == "__main__":
    os.environ.setdefault("QT_LOGGING_RULES", "qt.qpa.*=false")
    raise SystemExit(main())
