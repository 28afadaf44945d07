"""Windows ML's catalogue of execution providers; travels inside a package (ONNX Runtime and `windowsml`).

Not verified on device: the catalogue exists under Windows 11 24H2 and later only.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any, Final

NONE: Final = "Windows ML's catalogue has no execution provider for a GPU or NPU of this machine"
_RANK: Final = {"GPU": 0, "NPU": 1}


@cache
def register_catalogue() -> tuple[str, ...]:
    """Make the catalogue's ready providers known to ONNX Runtime; their names.

    Once for a process: ONNX Runtime refuses a library of a name that it has.
    Downloads what Windows has not got yet, which is why it happens when an
    engine is opened and never when devices are listed.
    """
    import onnxruntime

    catalogue: Any = importlib.import_module("windowsml")
    names = []
    with catalogue.EpCatalog() as found:
        for provider in found.find_all_providers():
            provider.ensure_ready()
            if provider.library_path:
                onnxruntime.register_execution_provider_library(provider.name, provider.library_path)
                names.append(str(provider.name))
    return tuple(names)


def choose_device(settings: Any) -> bool:
    """Tell session options to use the catalogue's GPU, else its NPU; whether there is one.

    Both take neither memory patterns nor parallel execution where DirectML stands behind them.
    """
    import onnxruntime

    settings.enable_mem_pattern = False
    settings.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    names = register_catalogue()
    able = [
        one for one in onnxruntime.get_ep_devices() if one.ep_name in names and one.device.type.name in _RANK
    ]
    if not able:
        return False
    settings.add_provider_for_devices([min(able, key=lambda one: _RANK[one.device.type.name])], {})
    return True
