"""For which devices that are not here a package shall hold engines too."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtWidgets import QCheckBox, QVBoxLayout, QWidget

from studio.record.described import TargetState
from studio.ui.widgets.labels import FlowRow, label


class AlsoDevices(QWidget):
    """A check box for each device that can only be built for; what was ticked stays ticked."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.boxes: dict[str, QCheckBox] = {}
        self._offered = True
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(4)
        column.addWidget(label("Engines for other devices too", "section"))
        holder = FlowRow(12)
        self._flow = holder.flow
        column.addWidget(holder)
        column.addWidget(label("Built, not verified on this machine.", "muted", wrap=True))
        self.hide()

    def show_targets(self, targets: Sequence[TargetState]) -> None:
        """Offer devices that are built for here, are not here, and that a package can hold engines for."""
        ticked = set(self.chosen())
        while (item := self._flow.takeAt(0)) is not None:
            if (box := item.widget()) is not None:
                box.hide()
                box.deleteLater()
        self.boxes = {}
        for target in targets:
            if target.state != "build_only" or not target.packable:
                continue
            box = QCheckBox(target.name)
            box.setAccessibleName(f"Engines for {target.name} too, built, not verified on this machine")
            box.setToolTip(target.reason)
            box.setChecked(target.id in ticked)
            self.boxes[target.id] = box
            self._flow.addWidget(box)
        self.setVisible(self._offered and bool(self.boxes))

    def offer(self, *, offered: bool) -> None:
        """Only a package holds engines for further devices; other layouts do not."""
        self._offered = offered
        self.setVisible(offered and bool(self.boxes))

    def chosen(self) -> list[str]:
        """Ids of the devices that are ticked and on offer."""
        return [name for name, box in self.boxes.items() if self._offered and box.isChecked()]
