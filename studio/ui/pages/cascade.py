"""Cascade: a light model answers, a discriminator decides, a heavy one does the rest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QComboBox, QPushButton, QTabWidget

from studio.errors import RunError
from studio.plan.cascade import Cascade
from studio.plan.measured import Speed, measured_tables
from studio.plan.tables import Tables
from studio.record.default_pair import light_and_heavy
from studio.record.sides import Side, elsewhere, place_of, trouble
from studio.ui import text
from studio.ui.actions import Commands
from studio.ui.desk import Desk
from studio.ui.journey import Journey
from studio.ui.models.run import Changes
from studio.ui.pages.cascade_discriminator import CascadeDiscriminator
from studio.ui.pages.cascade_planner import CascadePlanner
from studio.ui.pages.cascade_reuse import CascadeReuse
from studio.ui.pages.cascade_sides import OtherRun, SideMenu
from studio.ui.pages.cascade_threshold import CascadeThreshold
from studio.ui.pages.cascade_votes import CascadeVotes
from studio.ui.pages.page import Page
from studio.ui.theme import Theme
from studio.ui.widgets.labels import label
from studio.ui.widgets.message import Empty

RESULT = "cascade.json"
"""As the worker names it (`studio.work.cascade.files`)."""
TARGETS = {
    "better": "Heavy beats light",
    "votes": "… and your votes",
    "real": "Real against generated",
}


class CascadePage(Page):
    """Fifth step."""

    step = "cascade"
    title = "Cascade"

    def __init__(self, desk: Desk, theme: Theme, commands: Commands, journey: Journey) -> None:
        super().__init__(desk, theme, commands, journey)
        self.cascade: Cascade | None = None
        self._others: dict[str, str] = {}
        """Candidates taken from other runs: name -> title."""
        self._picked = False
        """The user has chosen a pair, which then stays; until then the front is followed."""
        self._quiet = False
        self._header()
        self._full = label("", "small", wrap=True, select=True)
        self._full.hide()
        self.column.addWidget(self._full)
        self._empty = Empty(
            "No pair to cascade yet",
            "A cascade needs a light and a heavy candidate; a run finds them, or take one from another run.",
            "Start a run",
        )
        self._empty.button.clicked.connect(lambda: desk.step_wanted.emit("evolve"))
        self.column.addWidget(self._empty, 1)
        self.threshold = CascadeThreshold(desk, theme)
        self.threshold.export_wanted.connect(self.start_export)
        self.threshold.problem.connect(lambda said: self.message.say(said, "warning"))
        self.planner = CascadePlanner(theme, desk.sitting)
        self.planner.threshold_wanted.connect(self._on_threshold)
        self._tabs = QTabWidget()
        self._tabs.setAccessibleName("Parts of the cascade")
        self._tabs.tabBar().setAccessibleName("Parts of the cascade")
        self.discriminator = CascadeDiscriminator(theme)
        self._tabs.addTab(self.threshold, "Threshold")
        self._tabs.addTab(self.discriminator, "Discriminator")
        self.reuse = CascadeReuse(desk, theme)
        self.reuse.wanted.connect(self.start_reuse)
        self.votes = CascadeVotes(desk, theme)
        self.votes.train_wanted.connect(lambda: self.start_training("votes"))
        self.votes.problem.connect(lambda said: self.message.say(said, "warning"))
        self._tabs.addTab(self.planner, "Plan and traffic")
        self._tabs.addTab(self.reuse, "Deferred prompts")
        self._tabs.addTab(self.votes, "Your votes")
        self.column.addWidget(self._tabs, 1)
        desk.run.changed.connect(self._on_changed)
        self._on_changed(Changes(everything=True, front=True))

    # -- building -------------------------------------------------------------------------------

    def _header(self) -> None:
        self.light, self.heavy = SideMenu("Light"), SideMenu("Heavy")
        for menu, name in ((self.light, "Light"), (self.heavy, "Heavy")):
            menu.currentIndexChanged.connect(self._on_chosen)
            menu.other_wanted.connect(lambda menu=menu, name=name: self._ask_other(menu, name))
            caption = label(name, "muted")
            caption.setBuddy(menu)
            self.head.addWidget(caption)
            self.head.addWidget(menu, 1)
        self.train = QPushButton("Train discriminator")
        self.train.setProperty("role", "primary")
        self.train.setToolTip(
            "Make pictures of fresh prompts with both, and learn when the light one is good enough"
        )
        self.train.clicked.connect(lambda: self.start_training())
        self._target = QComboBox()
        self._target.setAccessibleName("What the discriminator is trained on")
        for value, title in TARGETS.items():
            self._target.addItem(title, value)
        self.head.addWidget(self._target)
        self.head.addWidget(self.train)
        # Below the head, which has no room for it in a small window.
        self._progress = label("", "small", wrap=True)
        self._progress.hide()
        self.column.addWidget(self._progress)

    def _say_progress(self, words: str) -> None:
        self._progress.setText(words)
        self._progress.setVisible(bool(words))

    # -- training -------------------------------------------------------------------------------

    def start_training(self, target: str = "") -> None:
        """Train on the pair; `target` as the command `discriminator` takes it, else the chosen one."""
        light, heavy = self.light.side, self.heavy.side
        if not light or not heavy or light == heavy:
            self.message.say("Choose two different candidates: a fast one and a good one.", "warning")
            return
        if light in self._others and heavy in self._others:
            self.message.say("One of the two must be a candidate of this run.", "warning")
            return
        wanted = target or str(self._target.currentData())
        job = self.desk.ask(
            "cascade",
            "discriminator",
            lambda: self.start_training(wanted),
            run=self.desk.run.id,
            light=light,
            heavy=heavy,
            target=wanted,
            count=self.discriminator.count,
            real=self.discriminator.real,
        )
        self.train.setEnabled(False)
        self.discriminator.begin()
        job.progress.connect(
            lambda done, total, doing: self._say_progress(f"{doing} {done}/{total}" if total else doing)
        )
        job.point.connect(self._on_point)
        job.done.connect(self.show_result)
        job.ended.connect(self._on_trained)

    def _on_point(self, stage: str, number: int, values: dict[str, Any]) -> None:
        """An epoch; the first is shown where nothing else is to be seen yet."""
        if self.cascade is None and not self.discriminator.learning.epochs:
            self._tabs.setCurrentWidget(self.discriminator)
        self.discriminator.add_point(stage, number, values)

    def start_reuse(self) -> None:
        """Measure what can be done with a deferred prompt."""
        found = self.cascade
        if found is None:
            return
        job = self.desk.ask(
            "cascade",
            "reuse",
            self.start_reuse,
            run=self.desk.run.id,
            light=found.light,
            heavy=found.heavy,
        )
        self.train.setEnabled(False)
        self.reuse.measure.setEnabled(False)
        job.progress.connect(
            lambda done, total, doing: self._say_progress(f"{doing} {done}/{total}" if total else doing)
        )
        job.done.connect(self.show_result)
        job.ended.connect(self._on_reuse_ended)

    def _on_reuse_ended(self) -> None:
        self.reuse.measure.setEnabled(self.cascade is not None)
        self._on_trained()

    def show_result(self, result: dict[str, Any]) -> None:
        """Show the worker's `discriminator` result."""
        try:
            self.cascade = Cascade.from_json(result["cascade"])
        except (KeyError, TypeError, ValueError) as error:
            self.message.say(
                f"The discriminator's result could not be read ({error}); train it again.", "error"
            )
            return
        self._show_cascade()

    def _recall(self, *, any_pair: bool = False) -> None:
        """Show what was trained for the chosen pair in an earlier sitting; else, if asked, the last pair."""
        folder = self.desk.run.folder
        if folder is None or self.cascade is not None:
            return
        places = [place_of(folder, self.light.side, self.heavy.side) / RESULT]
        if any_pair:
            places += sorted(
                folder.glob(f"cascade/*/{RESULT}"), key=lambda path: path.stat().st_mtime, reverse=True
            )
        for place in places:
            try:
                found = Cascade.from_json(json.loads(place.read_text(encoding="utf-8"))["cascade"])
            except (OSError, KeyError, TypeError, ValueError):
                continue
            titles = {found.light: found.light_title, found.heavy: found.heavy_title}
            new = {name: title for name, title in titles.items() if name not in self.light.sides}
            if all("/" in name for name in new):
                self._others |= new
                self._fill(found.light, found.heavy)
                self.cascade = found
                self._show_cascade()
                self._warn(folder, found)
                return

    def _warn(self, folder: Path, found: Cascade) -> None:
        """Say it where a side of another run can no longer be drawn."""
        if {found.light, found.heavy} & self._others.keys():
            said = trouble(folder, found.light, found.heavy, found.models, self.desk.sitting.home)
            if said:
                self.message.say(said, "warning")

    def _on_trained(self) -> None:
        self.train.setEnabled(True)
        self._say_progress("")

    # -- exporting ------------------------------------------------------------------------------

    def start_export(self) -> None:
        """Export the trained pair at the threshold where the slider stands."""
        found, at = self.cascade, self.threshold.operation
        if found is None or at is None:
            return
        job = self.desk.ask(
            "cascade",
            "export_cascade",
            self.start_export,
            run=self.desk.run.id,
            light=found.light,
            heavy=found.heavy,
            threshold=at.threshold,
        )
        self.threshold.export.setEnabled(False)
        job.progress.connect(lambda done, total, doing: self._say_progress(f"{doing} {done}/{total}"))
        job.done.connect(self._on_exported)
        job.ended.connect(self._on_export_ended)

    def _on_exported(self, result: dict[str, Any]) -> None:
        serve = str(result.get("serve", ""))
        self.message.say(
            f"The cascade is in {result.get('package', '')}; it was proved there. Serve it with: {serve}",
            "info",
            ("Copy command", lambda: QGuiApplication.clipboard().setText(serve)),
            lasting=True,
        )

    def _on_export_ended(self) -> None:
        self.threshold.export.setEnabled(self.cascade is not None)
        self._say_progress("")

    # -- showing --------------------------------------------------------------------------------

    def _on_threshold(self, threshold: float) -> None:
        """The threshold of a plan."""
        self.threshold.go_to(threshold)
        self._tabs.setCurrentWidget(self.threshold)

    def _quality(self, value: float) -> str:
        metric = self.cascade.metric if self.cascade is not None else ""
        return text.metric("adherence", value) if metric == "adherence" else text.number(value)

    def _show_cascade(self) -> None:
        found = self.cascade
        self.threshold.show_cascade(found, self._quality)
        self.discriminator.show_cascade(found, self._quality)
        self.reuse.show_cascade(found, self._quality)
        self.votes.show_cascade(found)
        self.planner.show_tables(self._measured(found) if found is not None else None)

    def _measured(self, found: Cascade) -> Tables:
        """The pair as the planner takes it."""

        run = self.desk.run

        def speed(name: str, at: int) -> Speed:
            candidate = run.state.candidates.get(name)
            if candidate is None and run.folder is not None:
                home = self.desk.sitting.home
                candidate = elsewhere(run.folder, run.state, name, found.models[at : at + 1], home)
            verdict = candidate.verdict if candidate is not None else None
            if verdict is None:
                return Speed(name, {})
            latency = verdict.latency.value if verdict.latency is not None else None
            return Speed(name, verdict.throughput, latency, verdict.latency_p90)

        return measured_tables(found, speed(found.light, 0), speed(found.heavy, 1))

    # -- following ------------------------------------------------------------------------------

    def _on_changed(self, changes: Changes) -> None:
        if changes.everything:
            self.cascade, self._picked, self._others = None, False, {}
            self._show_cascade()
        if not (changes.everything or changes.front or changes.updated):
            return
        run = self.desk.run
        front = [name for name in run.state.front if name in run.state.candidates]
        names = [*front, *(name for name in self.desk.candidates() if name not in front)]
        if self.light.sides != [*names, *self._others]:
            stays = {*names, *self._others} if self._picked or self.cascade is not None else set()
            light, heavy = self._suggested(names)
            light = self.light.side if self.light.side in stays else light
            self._fill(light, self.heavy.side if self.heavy.side in stays else heavy, names)
            self._recall(any_pair=changes.everything)
        elif changes.everything:
            self._recall(any_pair=True)
        self._show_ready()

    def _show_ready(self) -> None:
        """Whether there is a pair to choose."""
        ready = len(self.light.sides) > 1
        self._empty.setVisible(not ready)
        self._tabs.setVisible(ready)
        self.train.setEnabled(ready and self._progress.text() == "")

    def _suggested(self, names: list[str]) -> tuple[str, str]:
        """The pair that the main job would take; before a run has one, the first and the baseline."""
        try:
            return light_and_heavy(self.desk.run.state)
        except RunError:
            return "".join(names[:1]), "c000" if "c000" in names else "".join(names[-1:])

    def _fill(self, light: str, heavy: str, names: Sequence[str] | None = None) -> None:
        """Offer candidates in both menus, by default the same as before, and those of other runs."""
        run = self.desk.run.state
        own = [name for name in self.light.sides if name in run.candidates] if names is None else names
        titles = {
            name: f"{'●' if name in run.front else '○'} {name}  {run.candidates[name].proposal.title}"
            for name in own
        }
        titles |= {name: f"◇ {name}  {title}" for name, title in self._others.items()}
        self._quiet = True
        for menu, chosen in ((self.light, light), (self.heavy, heavy)):
            menu.fill(titles, chosen)
        self._quiet = False
        self._name_sides()

    def _ask_other(self, menu: SideMenu, role: str) -> None:
        """Let the user take a candidate of another run."""
        run = self.desk.run
        own = next((name for name in self.light.sides if name in run.state.candidates), None)
        if run.folder is None or own is None:
            return
        side = Side(run.folder, run.state, run.state.candidates[own], own)
        self.other_run = OtherRun(self.desk.sitting.home, side, role, self)
        self.other_run.chosen.connect(lambda taken: self._take(menu, taken))
        self.other_run.open()

    def _take(self, menu: SideMenu, taken: Side) -> None:
        self._others[taken.name] = f"{taken.candidate.proposal.title}, {taken.started.model.name}"
        self._fill(self.light.side, self.heavy.side)
        menu.choose(taken.name)
        self._show_ready()

    def _name_sides(self) -> None:
        """Both sides in full, where one of them is of another run: the menus may be too narrow for that."""
        chosen = [menu.currentText() for menu in (self.light, self.heavy)]
        self._full.setVisible(bool({self.light.side, self.heavy.side} & self._others.keys()))
        self._full.setText(f"Light: {chosen[0][2:]}. Heavy: {chosen[1][2:]}.")

    def _on_chosen(self) -> None:
        if self._quiet or not (self.light.side and self.heavy.side):
            return
        self._picked = True
        self._name_sides()
        chosen = (self.light.side, self.heavy.side)
        if self.cascade is not None and chosen != (self.cascade.light, self.cascade.heavy):
            self.cascade = None
            self._show_cascade()
        self._recall()
