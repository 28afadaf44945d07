"""Every command of the window, once: menus, shortcuts, palette and help read this table."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QMenu, QMenuBar, QWidget

WINDOW: Final = "window"


@dataclass(frozen=True, slots=True)
class Command:
    """One thing that can be done.

    `scope` is `window` (always) or the name of a part that must have the
    keyboard focus, so that single keys never steal what is typed elsewhere.
    """

    id: str
    menu: str
    title: str
    tip: str
    shortcuts: tuple[str, ...] = ()
    scope: str = WINDOW


STEPS: Final = ("model", "device", "evolve", "compare", "cascade", "export")

COMMANDS: Final[tuple[Command, ...]] = (
    Command("file.folder", "File", "Open model folder…", "Open a model in the diffusers layout", ("Ctrl+O",)),
    Command("file.file", "File", "Open model file…", "Open one .safetensors file", ("Ctrl+Shift+O",)),
    Command(
        "file.bundled",
        "File",
        "Open the bundled model",
        "Open Tiny Scenes, which ships with the Studio",
        ("Ctrl+B",),
    ),
    Command(
        "file.package",
        "File",
        "Open package…",
        "Check a package that somebody gave you: every byte, and who made it",
        ("Ctrl+Shift+P",),
    ),
    Command(
        "file.package_folder",
        "File",
        "Open unpacked package…",
        "Check a package that was unpacked: its folder",
    ),
    Command("file.run", "File", "Open run…", "Show a run of an earlier day", ("Ctrl+R",)),
    Command(
        "file.report",
        "File",
        "Write report",
        "Write one HTML file with plots and pictures of this run",
        ("Ctrl+Shift+R",),
    ),
    Command("file.space", "File", "Space on disk…", "See what the cache holds, and empty it"),
    Command(
        "file.engines",
        "File",
        "Repair or move the engines…",
        "Fetch the engines anew, or put them into another folder",
    ),
    Command(
        "file.quit", "File", "Quit", "Close the window; a run continues from where it stopped", ("Ctrl+Q",)
    ),
    Command(
        "run.whole",
        "Run",
        "Do the whole job",
        "Evolve, certify, export the winner and prove the package",
        ("Ctrl+Shift+Return",),
    ),
    Command(
        "run.start",
        "Run",
        "Start or resume",
        "Start evolving the model, or go on with a paused run",
        ("Ctrl+Return",),
    ),
    Command(
        "run.more",
        "Run",
        "Go on…",
        "Give a run that has ended more generations, time or money",
        ("Ctrl+Shift+G",),
    ),
    Command("run.pause", "Run", "Pause", "Pause after the candidate in flight", ("Ctrl+P",)),
    Command("run.stop", "Run", "Stop", "Give up the candidate in flight and end the run", ("Ctrl+.",)),
    Command(
        "run.certify",
        "Run",
        "Certify the selected candidate…",
        "Check a claim about it on as many fresh prompts as you like",
        ("Ctrl+T",),
    ),
    Command(
        "run.worker",
        "Run",
        "Restart the worker",
        "Start the process that runs the models again",
        ("Ctrl+Shift+W",),
    ),
    Command(
        "evolve.previous",
        "Plot",
        "Previous on the front",
        "Select the next faster candidate of the front",
        ("Left",),
        "plot",
    ),
    Command(
        "evolve.next",
        "Plot",
        "Next on the front",
        "Select the next better candidate of the front",
        ("Right",),
        "plot",
    ),
    Command(
        "evolve.knee",
        "Plot",
        "Select the knee",
        "Select the candidate where the front bends most",
        ("K",),
        "plot",
    ),
    Command(
        "evolve.compare",
        "Plot",
        "Compare with the baseline",
        "Show the selected candidate beside the baseline",
        ("Return",),
        "plot",
    ),
    Command(
        "evolve.reset", "Plot", "Show all of the plot", "Undo zoom and pan of the plot", ("Home",), "plot"
    ),
    Command("compare.side", "Compare", "Side by side", "A at the left, B at the right", ("1",), "compare"),
    Command("compare.wipe", "Compare", "Wipe", "A and B meet at a line that you drag", ("2",), "compare"),
    Command("compare.swap", "Compare", "Swap", "One picture; Space shows the other", ("3",), "compare"),
    Command("compare.blink", "Compare", "Blink", "A and B alternate twice a second", ("4",), "compare"),
    Command(
        "compare.difference",
        "Compare",
        "Difference",
        "Amount of difference of each colour",
        ("5",),
        "compare",
    ),
    Command(
        "compare.heat", "Compare", "Heat map", "Largest difference of a pixel as a colour", ("6",), "compare"
    ),
    Command(
        "compare.flip",
        "Compare",
        "Exchange A and B",
        "Show the other picture, or exchange the sides",
        ("Space",),
        "canvas",
    ),
    Command(
        "compare.zoom", "Compare", "Fit, 100 %, 200 %", "Change the zoom of both pictures", ("Z",), "compare"
    ),
    Command(
        "compare.next", "Compare", "Next prompt", "Go to the next prompt of the strip", ("N",), "compare"
    ),
    Command("compare.previous", "Compare", "Previous prompt", "Go to the prompt before", ("P",), "compare"),
    Command(
        "compare.numbers",
        "Compare",
        "Show or hide numbers",
        "Hide labels and numbers to judge by eye alone",
        ("H",),
        "compare",
    ),
    Command(
        "compare.sheet", "Compare", "Contact sheet", "All prompts at once, worst first", ("C",), "compare"
    ),
    Command(
        "compare.blind", "Compare", "Blind choice", "Choose without knowing which is which", ("B",), "compare"
    ),
    *(
        Command(f"go.{step}", "Go", step.capitalize(), f"Open the step {step.capitalize()}", (f"Ctrl+{at}",))
        for at, step in enumerate(STEPS, 1)
    ),
    Command(
        "view.theme",
        "View",
        "Dark or light",
        "Change between the dark and the light theme",
        ("Ctrl+Shift+L",),
    ),
    Command("view.system", "View", "Theme of the system", "Follow the system's choice of dark or light"),
    Command("view.larger", "View", "Larger text", "Make text larger, up to 200 %", ("Ctrl+=", "Ctrl++")),
    Command("view.smaller", "View", "Smaller text", "Make text smaller", ("Ctrl+-",)),
    Command("view.reset", "View", "Text at 100 %", "Show text at its normal size", ("Ctrl+0",)),
    Command("view.log", "View", "Log", "Show or hide the log", ("Ctrl+L",)),
    Command("view.palette", "View", "Find a command…", "Search everything that can be done", ("Ctrl+K",)),
    Command("help.keys", "Help", "All keys", "Show every command with its keys", ("?", "F1")),
)


INSTALLED_ONLY: Final = frozenset({"file.engines"})
"""In a checkout the engines are in the environment that the window itself runs in."""


class Commands(QObject):
    """The table as live actions.

    Handlers are added by whoever can carry a command out; a command without a
    handler is disabled, so that nothing is offered that does nothing.
    """

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._actions: dict[str, QAction] = {}
        self._menus: list[QMenu] = []
        for command in COMMANDS:
            action = QAction(command.title, self)
            action.setObjectName(command.id)
            action.setToolTip(command.tip)
            action.setStatusTip(command.tip)
            action.setShortcuts([QKeySequence(keys) for keys in command.shortcuts])
            action.setShortcutContext(
                Qt.ShortcutContext.WindowShortcut
                if command.scope == WINDOW
                else Qt.ShortcutContext.WidgetWithChildrenShortcut
            )
            action.setMenuRole(
                QAction.MenuRole.QuitRole if command.id == "file.quit" else QAction.MenuRole.NoRole
            )
            action.setEnabled(False)
            action.setVisible(command.id not in INSTALLED_ONLY)
            self._actions[command.id] = action

    def __getitem__(self, name: str) -> QAction:
        return self._actions[name]

    def __iter__(self) -> Iterator[tuple[Command, QAction]]:
        return ((command, self._actions[command.id]) for command in COMMANDS)

    def on(self, name: str, handler: Callable[[], object]) -> None:
        """Carry a command out with `handler`, and enable it."""
        action = self._actions[name]
        action.triggered.connect(lambda *_: handler())
        action.setEnabled(True)
        action.setVisible(True)

    def attach(self, scope: str, widget: QWidget) -> None:
        """Let the keys of `scope` work while `widget` or a child of it has the focus."""
        widget.addActions([action for command, action in self if command.scope == scope])

    def fill(self, bar: QMenuBar) -> None:
        """One menu for each menu name, in the order of the table."""
        for name in dict.fromkeys(command.menu for command in COMMANDS):
            menu = bar.addMenu(f"&{name}")
            menu.setToolTipsVisible(True)
            menu.setAccessibleName(name)
            self._menus.append(menu)
            for command, action in self:
                if command.menu == name:
                    menu.addAction(action)


def keys(command: Command) -> str:
    """The first shortcut as the platform writes it."""
    if not command.shortcuts:
        return ""
    return QKeySequence(command.shortcuts[0]).toString(QKeySequence.SequenceFormat.NativeText)
