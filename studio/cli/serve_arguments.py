"""The command line of `pareto-studio serve`; imports `argparse` only.

What is given goes to the package's own server as it is: that one knows the
defaults and what makes sense.
"""

from __future__ import annotations

import argparse
from typing import Final

OPTIONS: Final = {
    "host": ("ADDRESS", "to listen on (default: this machine only)"),
    "port": ("N", "default 8000; 0: any free one"),
    "threshold": ("T", "light pictures with a lower score are deferred (default: as exported)"),
    "objective": ("SECONDS", "latency objective: threshold, batches and processes are planned for it"),
    "deadline": ("SECONDS", "for requests that name none"),
    "light-workers": ("N", "processes of the light model"),
    "light-batch": ("N", "its largest batch"),
    "heavy-workers": ("N", "processes of the heavy model"),
    "heavy-batch": ("N", "its largest batch"),
    "wait-ms": ("MS", "that the first of a batch may wait for others"),
    "queue": ("N", "pictures that may wait for each model"),
    "threads": ("N", "of each process (default: the cores, shared out)"),
    "grace": ("SECONDS", "for answers in flight when stopping"),
}
"""Of the server."""
PACKAGE: Final = {
    "device": ("DEVICE", "whose variants are tried first, or the name of one"),
    "key": ("FILE", "its maker's public key: serve no other's package"),
    "certificate": ("FILE", "of an authority: serve no package of makers whom it does not vouch for"),
}
"""Of everything that a package does."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """All options, without defaults."""
    for name, (value, text) in (OPTIONS | PACKAGE).items():
        parser.add_argument(f"--{name}", metavar=value, help=text)
    parser.add_argument(
        "--allow-native", action="store_true", help="load machine code without knowing who made it"
    )


def command_line(given: argparse.Namespace) -> list[str]:
    """What was given, as the package's own program takes it."""
    values = {name: getattr(given, name.replace("-", "_")) for name in (*OPTIONS, *PACKAGE)}
    found = [f"--{name}={value}" for name, value in values.items() if value is not None]
    found += ["--allow-native"] if given.allow_native else []
    return [*found, "--json"] if given.json else found
