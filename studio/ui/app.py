"""Open the window: `python -m studio.ui`, and what `pareto-studio` without a command does."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication, QStyleFactory

from studio.record.folders import home
from studio.ui.bridge import Worker
from studio.ui.garbage import Collector
from studio.ui.opening import FileOpener
from studio.ui.sitting import Sitting
from studio.ui.window import Window


def application(arguments: list[str] | None = None) -> QApplication:
    """The one QApplication, in the Fusion style that our palette is made for."""
    existing = QApplication.instance()
    made = existing if isinstance(existing, QApplication) else QApplication(arguments or sys.argv[:1])
    made.setApplicationName("Pareto Studio")
    made.setOrganizationName("Pareto Studio")
    made.setDesktopFileName("pareto-studio")
    if made.style().name().lower() not in {"fusion", ""}:
        made.setStyle(QStyleFactory.create("Fusion"))
    return made


def main(arguments: list[str] | None = None) -> int:
    """Run the window until it is closed; the exit status."""
    parser = argparse.ArgumentParser(prog="pareto-studio", description="Open the window.")
    parser.add_argument("--home", type=Path, default=None, help="folder of runs and settings")
    parser.add_argument("--run", type=Path, default=None, help="show this run")
    given = parser.parse_args(arguments)
    folder = (given.home or home()).expanduser().resolve()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        print(
            f"The folder {folder} cannot be made ({error.strerror or error}); "
            "choose another with --home or PARETO_STUDIO_HOME.",
            file=sys.stderr,
        )
        return 1
    app = application()
    sitting = Sitting(folder)
    if given.run is not None:
        sitting.change(last_run=str(given.run.resolve()))
    collector = Collector(app)
    window = Window(sitting, Worker(folder))
    window.complete.connect(collector.keep)
    if sys.platform == "darwin":
        FileOpener(app, window.open_package)
    # Ctrl+C in a terminal: Python sees signals only when it runs, so let it run now and then.
    signal.signal(signal.SIGINT, lambda *_: window.close())
    awake = QTimer(interval=200)
    awake.timeout.connect(lambda: None)
    awake.start()
    window.show_and_begin()
    status = app.exec()
    awake.stop()
    collector.stop()
    return status


if __name__ == "__main__":
    os.environ.setdefault("QT_LOGGING_RULES", "qt.qpa.*=false")
    raise SystemExit(main())
