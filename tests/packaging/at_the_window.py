"""Does at a screen what a user does, by the names that a screen reader would say; runs on a clean machine.

    at_the_window.py '[["open", "/usr/share/applications/x.desktop"], ["press", "push button", "Set up"]]'

`open` starts a desktop entry as the applications menu does.  `press`, `fill` and `see` wait until the part
shows whose role and name (a pattern) are given; `gone` until a part of this name no longer does.
`picture` keeps what the screen shows, in its own format; `close` quits the program and waits for its end.
"""

from __future__ import annotations

import importlib
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

# Debian's own, for the system's Python: there is no wheel of them.
importlib.import_module("gi").require_version("Atspi", "2.0")
Atspi: Any = importlib.import_module("gi.repository.Atspi")
GLib: Any = importlib.import_module("gi.repository.GLib")

PATIENCE = 60.0
PROGRAM = "pareto-studio"


def parts(node: Any) -> Iterator[tuple[Any, str, str]]:
    """What shows, with its role and name; what vanishes meanwhile is passed over."""
    try:
        if node.get_state_set().contains(Atspi.StateType.SHOWING) or node.get_role_name() == "application":
            yield node, node.get_role_name(), node.get_name() or ""
        elif node.get_role_name() != "desktop frame":
            return
        for at in range(node.get_child_count()):
            child = node.get_child_at_index(at)
            if child is not None:
                yield from parts(child)
    except GLib.Error:
        return


def find(role: str, name: str, seconds: float) -> Any:
    """The first part of this role whose whole name fits; where none comes or a problem is said, it ends."""
    pattern = re.compile(name, re.DOTALL)
    until = time.monotonic() + seconds
    while True:
        shown = list(parts(Atspi.get_desktop(0)))
        for node, its_role, its_name in shown:
            if its_role == role and pattern.fullmatch(its_name):
                return node
        problems = [its_name for _, _, its_name in shown if its_name.startswith("Problem:")]
        if problems or time.monotonic() > until:
            seen = "\n".join(f"{its_role}: {its_name}" for _, its_role, its_name in shown if its_name)
            raise SystemExit(f"No {role} {name!r} in {seconds:g} s. {problems}\n{seen}")
        time.sleep(1)


def running() -> bool:
    # Nobody waits for those that have ended: the first process here is no init.
    command = ["pgrep", "--exact", "--runstates", "R,S,D", PROGRAM]
    return subprocess.run(command, check=False, capture_output=True).returncode == 0


def do(step: str, *given: Any) -> None:
    match step, given:
        case "open", (entry,):
            subprocess.Popen(["gio", "launch", entry])
        case "see", (role, name, *patience):
            print(find(role, name, *(patience or [PATIENCE])).get_name())
        case "gone", (role, name, seconds):
            until = time.monotonic() + seconds
            while (role, name) in (shown := {part[1:] for part in parts(Atspi.get_desktop(0))}):
                problems = [said for _, said in shown if said.startswith("Problem:")]
                if problems or time.monotonic() > until:
                    raise SystemExit(f"The {role} {name!r} stays. {problems}")
                time.sleep(1)
        case "press", (role, name):
            # A program that is busy, or gone by then, does not answer: what comes next shows what came of it.
            with suppress(GLib.GError):
                Atspi.Action.do_action(find(role, name, PATIENCE), 0)
        case "fill", (name, text):
            Atspi.EditableText.set_text_contents(find("text", name, PATIENCE), text)
        case "picture", (place,):
            time.sleep(2)  # a name can be asked for before it is painted
            shutil.copyfile("/tmp/Xvfb_screen0", place)
        case "close", ():
            do("press", "menu item", "File")
            do("press", "menu item", "Quit")
            until = time.monotonic() + PATIENCE
            while running():
                if time.monotonic() > until:
                    raise SystemExit("The program did not close.")
                time.sleep(0.5)
        case _:
            raise SystemExit(f"Unknown step {step} {given}")


# The bus of screen readers starts with its first reader; a program that opens before that tells it nothing.
list(parts(Atspi.get_desktop(0)))
for one in json.loads(sys.argv[1]):
    do(*one)
