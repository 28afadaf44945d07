"""Engines for another device or in another precision into the package on show."""

from __future__ import annotations

from typing import Any, Final

from PySide6.QtWidgets import QCheckBox, QComboBox, QWidget

from studio.layouts import PRECISIONS, VARIANTS
from studio.ui.desk import Desk
from studio.ui.widgets.file_field import FileField
from studio.ui.widgets.ways import Ways

_DEVICES: Final = {
    "cpu": "CPU",
    "cuda": "NVIDIA GPU",
    "directml": "DirectX 12 GPU",
    "windowsml": "What Windows ML offers",
    "intel-gpu": "Intel GPU",
    "intel-npu": "Intel NPU",
    "mps": "Apple GPU",
    "mlx": "Apple GPU",
    "coreml": "Apple Neural Engine, GPU, CPU",
}


class AddVariantDialog(Ways):
    """From the run that the package was made from, or from another package of the same model."""

    ways = (
        ("run", "Build it from the run that the package was made from"),
        ("other", "Take the engines of another package of the same model and recipe"),
    )

    def __init__(self, desk: Desk, parent: QWidget | None = None) -> None:
        super().__init__(
            desk.sitting,
            "Add a variant",
            "The package then holds engines for one more device or precision. Where they can run here they "
            "are tried; its id changes, and a signature is lost.",
            "Add",
            parent,
        )
        self.engine, self.device, self.precision = QComboBox(), QComboBox(), QComboBox()
        for name, (title, _) in VARIANTS.items():
            self.engine.addItem(title, name)
        self.precision.addItem("the device's own", "")
        for name in PRECISIONS:
            self.precision.addItem(name, name)
        self.run = FileField("Run", "", folder=True, placeholder="the one that the package names")
        self.other = FileField("Other package", "", folder=True, placeholder="the folder of an unpacked one")
        for words, field, way in (
            ("Engine", self.engine, "run"),
            ("Device", self.device, "run"),
            ("Precision", self.precision, "run"),
            ("Run", self.run, "run"),
            ("Package", self.other, "other"),
        ):
            field.setAccessibleName(words)
            if isinstance(field, QComboBox):
                field.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
            self.add(words, field, way)
        self.first = QCheckBox("Try it before the variants that are there")
        self.add("", self.first, "run", "other")
        self.engine.currentIndexChanged.connect(self._show_devices)
        self._show_devices()
        self.refresh()

    def _show_devices(self) -> None:
        self.device.clear()
        for name in VARIANTS[self.engine.currentData()][1]:
            self.device.addItem(_DEVICES[name], name)

    def complete(self) -> bool:
        return self.way == "run" or bool(self.other.path)

    def arguments(self) -> dict[str, Any]:
        """Of the command `add_variant`."""
        first = {"first": True} if self.first.isChecked() else {}
        if self.way == "other":
            return {"other": self.other.path} | first
        chosen = {"engine": self.engine, "device": self.device, "precision": self.precision}
        given = {name: field.currentData() for name, field in chosen.items()} | {"run": self.run.path}
        return {name: value for name, value in given.items() if value} | first
