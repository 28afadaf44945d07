"""Compare: two candidates over the same prompts and seeds, in six modes, as a sheet, or blind."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any, Final, Literal

from PySide6.QtGui import QImage
from PySide6.QtWidgets import (
    QButtonGroup,
    QCheckBox,
    QComboBox,
    QHBoxLayout,
    QPushButton,
    QSizePolicy,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)

from studio.ui import text
from studio.ui.actions import Commands, keys
from studio.ui.desk import Desk
from studio.ui.journey import Journey
from studio.ui.models.pairs import Pair, compared_pairs, gate_pairs, parity_words, set_words
from studio.ui.models.run import Changes
from studio.ui.pages.blind_panel import BlindPanel
from studio.ui.pages.page import Page
from studio.ui.pages.playground import Playground
from studio.ui.theme import Theme
from studio.ui.widgets.canvas import MODES, TITLES, Canvas, Mode
from studio.ui.widgets.choice import Choice
from studio.ui.widgets.labels import OneLine, label, plain_line
from studio.ui.widgets.message import Empty
from studio.ui.widgets.player import Player
from studio.ui.widgets.sheet import Cell, Sheet

View = Literal["pair", "sheet", "blind", "playground"]
VIEWS: Final[dict[View, str]] = {
    "pair": "Pair",
    "sheet": "Contact sheet",
    "blind": "Blind choice",
    "playground": "Playground",
}
GAINS: Final = (1, 2, 4, 8)


class ComparePage(Page):
    """Fourth step."""

    step = "compare"
    title = "Compare"

    def __init__(self, desk: Desk, theme: Theme, commands: Commands, journey: Journey) -> None:
        super().__init__(desk, theme, commands, journey)
        self.pairs: list[Pair] = []
        self._more: dict[tuple[str, str], list[Pair]] = {}
        self._sets: dict[tuple[str, str], tuple[str, str]] = {}
        self._enlarged: dict[Path, Path] = {}
        self._asked: set[Path] = set()
        self._row = 0
        self._quiet = False
        self._view: View = "pair"
        self.canvas = Canvas(theme)
        self._header()
        self._empty = Empty(
            "Nothing to compare yet",
            "Two candidates with pictures are needed; a run makes them. The baseline is A, any can be B.",
            "Start a run",
        )
        self._empty.button.clicked.connect(lambda: desk.step_wanted.emit("evolve"))
        self.stack = QStackedWidget()
        self._pages: dict[View, QWidget] = {"pair": self._pair_view()}
        self.sheet = Sheet(desk.pictures, theme, "Contact sheet, worst first", size=132, flow=True)
        self.sheet.opened.connect(self._open_row)
        self._pages["sheet"] = self.sheet
        self.blind = BlindPanel(desk, theme)
        self._pages["blind"] = self.blind
        self.playground = Playground(desk, theme)
        self._pages["playground"] = self.playground
        for page in self._pages.values():
            self.stack.addWidget(page)
        self.column.addWidget(self._empty, 1)
        self.column.addWidget(self.stack, 1)
        commands.attach("compare", self)
        for mode in MODES:
            commands.on(f"compare.{mode}", partial(self.set_mode, mode))
        for name, handler in (
            ("compare.flip", self.canvas.flip),
            ("compare.zoom", self.canvas.cycle_zoom),
            ("compare.next", lambda: self.show_row(self._row + 1)),
            ("compare.previous", lambda: self.show_row(self._row - 1)),
            ("compare.numbers", self._toggle_labels),
            ("compare.sheet", partial(self._turn, "sheet")),
            ("compare.blind", partial(self._turn, "blind")),
        ):
            commands.on(name, handler)
        remembered = desk.sitting.text("compare/mode")
        for mode in MODES:
            if mode == remembered:
                self.canvas.set_mode(mode)
                self._mode_buttons[mode].setChecked(True)
        self.canvas.set_zoom(desk.sitting.real("compare/zoom", 0))
        self.canvas.zoomed.connect(lambda zoom: desk.sitting.put("compare/zoom", zoom))
        desk.pair_changed.connect(self._on_pair)
        desk.run.changed.connect(self._on_changed)
        desk.pictures.ready.connect(self._on_picture)
        self._on_changed(Changes(everything=True))

    def entered(self) -> None:
        if self.desk.pair[1] == "" and self.desk.run.state.winner:
            self.desk.compare("c000", self.desk.run.state.winner)
        if self._view == "pair":
            self.canvas.setFocus()

    # -- building -------------------------------------------------------------------------------

    def _header(self) -> None:
        self.a, self.b = Choice(), Choice()
        for combo, name in ((self.a, "A"), (self.b, "B")):
            combo.setAccessibleName(f"Candidate {name}")
            combo.setMinimumWidth(100)
            combo.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
            combo.currentIndexChanged.connect(self._on_chosen)
            caption = label(name, "muted")
            caption.setBuddy(combo)
            self.head.addWidget(caption)
            self.head.addWidget(combo, 1)
        exchange = QPushButton("⇄")
        exchange.setAccessibleName("Exchange A and B")
        exchange.setToolTip("Exchange A and B")
        exchange.clicked.connect(lambda: self.desk.compare(self.desk.pair[1], self.desk.pair[0]))
        self.head.addWidget(exchange)
        self.head.addSpacing(8)
        self._views = QButtonGroup(self)
        self._view_buttons: dict[View, QPushButton] = {}
        for view, title in VIEWS.items():
            button = QPushButton(title)
            button.setCheckable(True)
            button.clicked.connect(lambda *_, view=view: self.set_view(view))
            self._views.addButton(button)
            self._view_buttons[view] = button
            self.head.addWidget(button)
        self._view_buttons["pair"].setChecked(True)

    def _pair_view(self) -> QWidget:
        page = QWidget()
        column = QVBoxLayout(page)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        row = QHBoxLayout()
        row.setSpacing(4)
        self._modes = QButtonGroup(self)
        self._mode_buttons: dict[Mode, QPushButton] = {}
        table = {command.id: command for command, _ in self.commands}
        for mode in MODES:
            button = QPushButton(f"{keys(table[f'compare.{mode}'])} {TITLES[mode]}")
            button.setAccessibleName(TITLES[mode])
            button.setToolTip(table[f"compare.{mode}"].tip)
            button.setCheckable(True)
            button.clicked.connect(self.commands[f"compare.{mode}"].trigger)
            self._modes.addButton(button)
            self._mode_buttons[mode] = button
            row.addWidget(button)
        self._mode_buttons["side"].setChecked(True)
        row.addStretch(1)
        self._gain = QComboBox()
        self._gain.addItems([f"×{gain}" for gain in GAINS])
        self._gain.setAccessibleName("Amplify differences")
        self._gain.setToolTip("Amplify the difference and the heat map")
        self._gain.currentIndexChanged.connect(lambda at: self.canvas.set_gain(GAINS[at]))
        self._zoom = QPushButton("Fit")
        self._zoom.setAccessibleName("Zoom: fit, 100 %, 200 %")
        self._zoom.setToolTip("Fit, 100 %, 200 % (Z); the wheel zooms both pictures at the pointer")
        self._labels = QCheckBox("Labels")
        self._labels.setChecked(True)
        self._black = QCheckBox("Black")
        self._black.setToolTip("Pictures on black instead of neutral grey")
        self._large = QCheckBox("Enlarged")
        self._large.setToolTip(
            "Show both four times as large, by the model's super-resolution; numbers stay the pictures' own"
        )
        for widget in (self._gain, self._zoom, self._large):
            row.addWidget(widget)
        column.addLayout(row)
        self._zoom.clicked.connect(self.canvas.cycle_zoom)
        self._large.toggled.connect(lambda: self.show_row(self._row))
        self._labels.toggled.connect(self._on_labels)
        self._black.toggled.connect(lambda on: self.canvas.set_black(on=on))
        self.canvas.zoomed.connect(lambda zoom: self._zoom.setText(f"{zoom:.0%}" if zoom else "Fit"))
        self.commands.attach("canvas", self.canvas)
        column.addWidget(self.canvas, 1)
        self.player = Player(self.theme)
        self.player.moved.connect(self._on_frame)
        column.addWidget(self.player)
        line = QHBoxLayout()
        self._prompt = plain_line("Prompt and seed", "said")
        self._read_out = label("", "small")
        self._read_out.setFont(self.theme.fixed(11))
        line.addWidget(self._prompt, 1)
        line.addWidget(self._read_out)
        for box in (self._labels, self._black):
            line.addWidget(box)
        self.canvas.pointed.connect(self._read_out.setText)
        column.addLayout(line)
        numbers = QHBoxLayout()
        self._numbers, self._source = OneLine("small"), OneLine("small")
        self._ask = QPushButton("Compare on 16 prompts")
        self._ask.setToolTip("Make pictures of more prompts with both candidates and measure them")
        self._ask.clicked.connect(self.ask_more)
        numbers.addWidget(self._numbers, 1)
        numbers.addWidget(self._source)
        numbers.addWidget(self._ask)
        column.addLayout(numbers)
        # One line, not wrapped: a height that depends on the width would keep the pictures from shrinking.
        self._as_sets = label("", "small")
        self._as_sets.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._as_sets.hide()
        column.addWidget(self._as_sets)
        self.strip = Sheet(self.desk.pictures, self.theme, "Prompts, worst first", size=64)
        self.strip.chosen.connect(self.show_row)
        column.addWidget(self.strip)
        return page

    # -- choosing -------------------------------------------------------------------------------

    def set_view(self, view: View) -> None:
        self._view = view
        self._view_buttons[view].setChecked(True)
        self.stack.setCurrentWidget(self._pages[view])
        self._show_empty()
        if view == "blind":
            self.blind.begin(self.pairs, (self._name(self.desk.pair[0]), self._name(self.desk.pair[1])))
            self.blind.setFocus()
        elif view == "pair":
            self.canvas.setFocus()
        elif view == "sheet":
            self.sheet.setFocus()
        else:
            self.playground.prompt.setFocus()

    def _turn(self, view: View) -> None:
        """To a view, or back to the pair."""
        self.set_view("pair" if self._view == view else view)

    def _toggle_labels(self) -> None:
        self._labels.toggle()

    def set_mode(self, mode: Mode) -> None:
        if self._view != "pair":
            self.set_view("pair")
        self.canvas.set_mode(mode)
        self._mode_buttons[mode].setChecked(True)
        self.desk.sitting.put("compare/mode", mode)

    def show_row(self, row: int) -> None:
        """Show the pair of a prompt; the strip follows."""
        if not self.pairs:
            self.canvas.show_given(None)
            self.canvas.show_pair(None, None)
            self.player.show_clip(0, {})
            self._prompt.setText("")
            self._numbers.setText("")
            return
        self._row = max(0, min(row, len(self.pairs) - 1))
        self.strip.choose(self._row)
        pair = self.pairs[self._row]
        self.player.show_clip(pair.frames, pair.curves)
        self._show_pair()

    def ask_more(self) -> None:
        """Have the worker make and measure pictures of more prompts."""
        a, b = self.desk.pair
        job = self.desk.ask("compare", "compare", self.ask_more, run=self.desk.run.id, a=a, b=b)
        self._ask.setEnabled(False)
        job.progress.connect(lambda done, total, doing: self._source.setText(f"{doing} {done}/{total}"))
        job.done.connect(lambda result: self._on_compared(a, b, result))
        job.ended.connect(lambda: self._ask.setEnabled(True))

    # -- following ------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything:
            self._more.clear()
            self._sets.clear()
        if not (changes.everything or changes.updated or changes.added):
            return
        names = self.desk.candidates()
        if [self.a.itemData(at) for at in range(self.a.count())] != names:
            self._quiet = True
            for combo in (self.a, self.b):
                combo.clear()
                for name in names:
                    combo.addItem(self._name(name), name)
            self._quiet = False
            self._on_pair()
        self._show_empty()

    def _show_empty(self) -> None:
        ready = len(self.desk.candidates()) > 1 or (self._view == "playground" and bool(self.desk.run.id))
        self._empty.setVisible(not ready)
        self.stack.setVisible(ready)

    def _name(self, name: str) -> str:
        candidate = self.desk.run.state.candidates.get(name)
        return name if candidate is None else f"{name}  {candidate.proposal.title}"

    def _on_chosen(self) -> None:
        if not self._quiet and self.a.currentData() and self.b.currentData():
            self.desk.compare(self.a.currentData(), self.b.currentData())

    def _on_pair(self) -> None:
        a, b = self.desk.pair
        self._quiet = True
        for combo, name in ((self.a, a), (self.b, b)):
            combo.setCurrentIndex(combo.findData(name))
        self._quiet = False
        self.playground.candidate = b
        known = self._more.get((a, b))
        self._set_pairs(gate_pairs(self.desk.run, a, b) if known is None else known)
        words, why = self._sets.get((a, b), ("", ""))
        words = "   ·   ".join(filter(None, (parity_words(self.desk.run, a, b), words)))
        self._as_sets.setText(words)
        self._as_sets.setToolTip(why)
        self._as_sets.setVisible(bool(words))
        self._source.setText("gate pictures" if known is None else f"{len(known)} fresh prompts")

    def _on_compared(self, a: str, b: str, result: dict[str, Any]) -> None:
        self._more[a, b] = compared_pairs(result)
        self._sets[a, b] = set_words(result)
        if self.desk.pair == (a, b):
            self._on_pair()

    def _set_pairs(self, pairs: list[Pair]) -> None:
        self.pairs = pairs
        cells = [Cell(pair.prompt, pair.remark(), (pair.b,)) for pair in pairs]
        self.strip.show_cells(cells)
        self.sheet.show_cells([Cell(pair.prompt, pair.remark(), (pair.a, pair.b)) for pair in pairs])
        if self._view == "blind":
            self.blind.begin(pairs, (self._name(self.desk.pair[0]), self._name(self.desk.pair[1])))
        self.show_row(0)

    def _on_picture(self, path: str) -> None:
        if self.pairs:
            pair = self.pairs[self._row]
            own = {*pair.at(self.player.frame), pair.given}
            if Path(path) in own | {self._enlarged.get(pair.a), self._enlarged.get(pair.b)}:
                self._show_pair()

    def _on_frame(self) -> None:
        if self.pairs:
            self._show_pair()

    def _show_pair(self) -> None:
        pair = self.pairs[self._row]
        a, b = (self.desk.pictures.get(path) for path in pair.at(self.player.frame))
        self.player.ready = a is not None and b is not None
        self._large.setEnabled(not pair.frames)
        self.canvas.show_given(None if pair.given is None else self.desk.pictures.get(pair.given))
        if pair.frames and not self.player.ready and self.player.play.isChecked():
            return  # the frame before stays until this one is read
        names = (f"A  {self._name(self.desk.pair[0])}", f"B  {self._name(self.desk.pair[1])}")
        large = self._large_pair(pair) if self._large.isChecked() and not pair.frames else None
        self.canvas.show_pair(*(large or (a, b)), names)
        self._prompt.setText(f"{self._row + 1}/{len(self.pairs)}  {pair.prompt}  ·  seed {pair.seed}")
        parts = [pair.words()]
        found = None if large else self.canvas.numbers()
        if found is not None:
            parts.append(
                f"A to B: PSNR {text.metric('psnr', found[0])}, largest difference {found[1]} of 255"
            )
        self._numbers.setText("   ·   ".join(part for part in parts if part))

    def _large_pair(self, pair: Pair) -> tuple[QImage, QImage] | None:
        """Both pictures enlarged, once the worker has made them and they are read; None until then."""
        folder = self.desk.run.folder
        missing = [path for path in (pair.a, pair.b) if path not in self._enlarged]
        if missing and folder is not None:
            fresh = [path for path in missing if path not in self._asked]
            if fresh:
                self._asked.update(fresh)
                names = [path.relative_to(folder).as_posix() for path in fresh]
                job = self.desk.ask("compare", "enlarge", None, run=self.desk.run.id, pictures=names)
                job.done.connect(lambda result: self._on_enlarged(folder, result))
                job.ended.connect(lambda: self._asked.difference_update(fresh))
            return None
        a, b = (self.desk.pictures.get(self._enlarged[path]) for path in (pair.a, pair.b))
        return None if a is None or b is None else (a, b)

    def _on_enlarged(self, folder: Path, result: dict[str, Any]) -> None:
        for name, large in result["pictures"].items():
            self._enlarged[folder / name] = folder / large
        self.show_row(self._row)

    def _open_row(self, row: int) -> None:
        self.set_view("pair")
        self.show_row(row)

    def _on_labels(self, on: bool) -> None:
        self.canvas.set_labels(on=on)
        self._numbers.setVisible(on)
        self._read_out.setVisible(on)
