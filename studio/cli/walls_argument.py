"""`--without-walls`, of every command that runs candidates; imports `argparse` only."""

from __future__ import annotations

import argparse


def add_walls(parser: argparse.ArgumentParser) -> None:
    """Let the user agree beforehand to what is asked in a terminal otherwise."""
    parser.add_argument(
        "--without-walls",
        action="store_true",
        help="run candidates even where this system cannot limit what they do (asked in a terminal), "
        "and a script of your own that builds engines itself without the walls there are",
    )
