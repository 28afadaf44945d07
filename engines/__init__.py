"""How a model runs; imported before all that it runs on, in an exported package too."""

from __future__ import annotations

import os
import sys
from types import ModuleType
from typing import cast

# ONNX Runtime reports to its makers, and gives the machine an id, as soon as it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
# OpenVINO reports to its makers over the network as soon as it is imported, NNCF when it is used, both
# unasked; where this module cannot be imported they use a stub of their own.
cast("dict[str, ModuleType | None]", sys.modules).setdefault("openvino_telemetry", None)
