"""The words of `metrics`; light, so that `--help` answers at once."""

from __future__ import annotations

import argparse
from pathlib import Path

NAMES = ("lpips", "clip", "dino")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`metrics`, `metrics get NAME`, `metrics use NAME PATH`."""
    parser.add_argument("what", nargs="?", choices=("list", "get", "use"), default="list")
    parser.add_argument("name", nargs="?", choices=NAMES, help="a network of the pack")
    parser.add_argument("path", nargs="?", type=Path, help="with `use`: its file or folder")
    parser.add_argument("--yes", action="store_true", help="with `get`: agree to the download beforehand")
