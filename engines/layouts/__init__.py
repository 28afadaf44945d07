"""Layouts: what a candidate becomes for somebody else's runtime, one file each."""

from __future__ import annotations

from engines.layouts.base import LAYOUTS, Drawn, Layout, Spoken, Subject, layout
from engines.layouts.container import Container
from engines.layouts.diffusers_folder import DiffusersFolder
from engines.layouts.hub import Hub
from engines.layouts.openvino_genai import OpenVinoGenAI
from engines.layouts.triton import Triton

__all__ = [
    "LAYOUTS",
    "Container",
    "DiffusersFolder",
    "Drawn",
    "Hub",
    "Layout",
    "OpenVinoGenAI",
    "Spoken",
    "Subject",
    "Triton",
    "layout",
]
