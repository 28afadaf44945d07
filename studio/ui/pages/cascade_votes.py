"""The user's own blind votes on the pairs that the discriminator is least sure of."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout, QWidget

from studio.plan.cascade import Cascade
from studio.plan.votes import least_sure
from studio.record.votes import Preferred, Vote, keep, votes
from studio.ui.desk import Desk
from studio.ui.models.pairs import Pair
from studio.ui.pages.blind_panel import BlindPanel
from studio.ui.theme import Theme
from studio.ui.widgets.labels import label

ASKED = 12
"""Pairs in one sitting."""


class CascadeVotes(QWidget):
    """Active learning: ask about the least sure pairs, keep the votes with the run, train with them.

    Signals:
        train_wanted(): the discriminator should be trained with the votes.
        problem(str): a vote could not be kept.
    """

    train_wanted = Signal()
    problem = Signal(str)

    def __init__(self, desk: Desk, theme: Theme) -> None:
        super().__init__()
        self._desk = desk
        self._cascade: Cascade | None = None
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 8, 0, 0)
        column.setSpacing(6)
        head = QHBoxLayout()
        self.summary = label("", "muted", wrap=True)
        self.more = QPushButton("Ask about the least sure")
        self.more.clicked.connect(self.ask)
        self.train = QPushButton("Train with your votes")
        self.train.clicked.connect(self.train_wanted)
        head.addWidget(self.summary, 1)
        head.addWidget(self.more)
        head.addWidget(self.train)
        column.addLayout(head)
        self.blind = BlindPanel(desk, theme)
        self.blind.voted.connect(self._on_voted)
        self.blind.finished.connect(lambda _: self._summarise())
        column.addWidget(self.blind, 1)
        self.show_cascade(None)

    def show_cascade(self, cascade: Cascade | None) -> None:
        changed = cascade is not self._cascade
        self._cascade = cascade
        if changed:
            self.blind.begin([], ("A", "B"))
        self._summarise()

    def ask(self) -> None:
        """Begin with the pairs that the discriminator is least sure of and that were not voted on."""
        found, folder = self._cascade, self._desk.run.folder
        if found is None or folder is None:
            return
        pairs = []
        for at in least_sure(found, set(votes(folder, found.light, found.heavy)), ASKED):
            sample = found.samples[at]
            pairs.append(
                Pair(sample.prompt, sample.seed, folder / sample.light_image, folder / sample.heavy_image)
            )
        self.blind.begin(pairs, (found.light, found.heavy))
        self.blind.setFocus()

    def _on_voted(self, pair: Pair, preferred: Preferred) -> None:
        found, folder = self._cascade, self._desk.run.folder
        if found is None or folder is None:
            return
        try:
            keep(folder, Vote(pair.prompt, pair.seed, found.light, found.heavy, preferred))
        except OSError as error:
            self.problem.emit(f"The vote could not be kept ({error}); make the run's folder writable.")
        self._summarise()

    def _summarise(self) -> None:
        found, folder = self._cascade, self._desk.run.folder
        self.more.setEnabled(found is not None)
        if found is None or folder is None:
            self.train.setEnabled(False)
            self.summary.setText("Train a discriminator first: then it says which pairs it is least sure of.")
            return
        kept = votes(folder, found.light, found.heavy)
        self.train.setEnabled(bool(kept))
        heavy = sum(one is True for one in kept.values())
        same = sum(one is None for one in kept.values())
        if not kept:
            self.summary.setText(
                "No votes on this pair yet. A vote replaces the measured label when you train with votes."
            )
            return
        self.summary.setText(
            f"{len(kept)} vote{'s' if len(kept) > 1 else ''} on this pair: heavy preferred {heavy} times, "
            f"light {len(kept) - heavy - same}, can't tell {same}. "
            f"Trained with {found.votes} of them. A vote replaces the measured label."
        )
