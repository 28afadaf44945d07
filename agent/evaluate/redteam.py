"""How well the judge tells cheats from honest scripts: a folder of both, judged, as a confusion table.

    python -m agent.evaluate.redteam tests/agent/cheats --out TABLE.md

Folders named `honest` hold scripts that must pass; all others hold cheats,
which must be failed or quarantined.  A script that cannot do on this machine
what it is about is not judged, and the table says why.
"""

from __future__ import annotations

import argparse
import ast
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.candidate import Candidate, Proposal, Verdict
from agent.evaluate.judge import Judge
from agent.evaluate.static import declared
from engines.workload import Workload

HONEST: Final = "honest"
STEPS: Final = 3
GATE: Final = 8
IN_BF16: Final = frozenset({"silent_bf16"})
"""Scripts that cheat by the engines' bf16."""


@dataclass(frozen=True, slots=True)
class Tried:
    """One script and what the judge said of it."""

    group: str
    """The folder: `honest`, or a kind of cheats."""
    name: str
    about: str
    """First sentence of its docstring."""
    verdict: Verdict

    @property
    def right(self) -> bool:
        """An honest script passed, or a cheat did not."""
        return (self.verdict.state == "passed") == (self.group == HONEST)


def scripts(folder: Path) -> list[Path]:
    """Every script of every group, in order."""
    return sorted(folder.glob("*/*.py"))


def candidate(script: Path, number: int = 1) -> Candidate:
    """A script as a search would hand it in.

    What it declares is its literal `RECIPE`, or nothing; in words, what its docstring says after `Beyond:`.
    """
    source = script.read_text(encoding="utf-8")
    _, _, beyond = (ast.get_docstring(ast.parse(source)) or "").partition("Beyond: ")
    proposal = Proposal(declared(source) or (), "a script of the red team", "new", code=beyond)
    return Candidate(f"c{number:03}", 1, proposal, source)


def idle(script: Path) -> str:
    """Why a script cannot do here what it is about; empty where it can."""
    from engines.techniques.bf16 import BFloat16

    if script.stem in IN_BF16 and BFloat16.idle_on("cpu"):
        return "the engines refuse this processor the bf16 that the script would have used in silence"
    return ""


def about(script: Path) -> str:
    """The first sentence of a script's docstring, or what stands in its place."""
    try:
        text = ast.get_docstring(ast.parse(script.read_text(encoding="utf-8"))) or ""
    except SyntaxError:
        return "Does not parse."
    return " ".join(text.split("\n\n")[0].split())


def judge_all(
    judge: Judge, paths: Iterable[Path], on_tried: Callable[[Tried], None] = lambda _: None
) -> list[Tried]:
    """Judge scripts one after the other with one baseline."""
    found = []
    for number, path in enumerate(paths, 1):
        verdict = judge.judge(candidate(path, number), lambda _stage, _message: None)
        found.append(Tried(path.parent.name, path.stem, about(path), verdict))
        on_tried(found[-1])
    return found


def table(found: Sequence[Tried], left: Sequence[Path] = ()) -> str:
    """The confusion table, then every script with its verdict, and those that are idle here; Markdown."""
    lines = ["| | passed | failed | quarantined | right |", "|---|---|---|---|---|"]
    for group in sorted({one.group for one in found}, key=lambda name: (name == HONEST, name)):
        ours = [one for one in found if one.group == group]
        counts = [sum(one.verdict.state == state for one in ours) for state in _STATES]
        right = sum(one.right for one in ours)
        kind = "honest scripts" if group == HONEST else f"cheats, {group}"
        lines.append(f"| {kind} | {counts[0]} | {counts[1]} | {counts[2]} | {right} of {len(ours)} |")
    lines += ["", "| Group | Script | What it does | Verdict | At | Because |", "|---|---|---|---|---|---|"]
    for one in found:
        verdict = one.verdict
        mark = verdict.state if one.right else f"**{verdict.state}**"
        reason = verdict.reason.replace("|", "\\|").replace(str(Path.home()), "~")
        lines.append(f"| {one.group} | {one.name} | {one.about} | {mark} | {verdict.stage} | {reason} |")
    for path in left:
        lines.append(f"| {path.parent.name} | {path.stem} | {about(path)} | not judged | | {idle(path)} |")
    return "\n".join(lines) + "\n"


_STATES: Final = ("passed", "failed", "quarantined")


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; 0 when every verdict is right."""
    parser = argparse.ArgumentParser(prog="agent.evaluate.redteam", description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path, help="folder of groups of scripts")
    parser.add_argument("--only", default="", help="scripts whose path contains this")
    parser.add_argument("--model", default="tiny-scenes")
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--gate", type=int, default=GATE)
    parser.add_argument("--out", type=Path, help="write the table here too")
    given = parser.parse_args(arguments)
    paths = [path for path in scripts(given.folder) if given.only in path.as_posix()]
    if not paths:
        print(f"There is no script in {given.folder}; give a folder of groups of scripts.", file=sys.stderr)
        return 2
    left = [path for path in paths if idle(path)]
    for path in left:
        print(f"   {path.parent.name}/{path.stem}: not judged, {idle(path)}.", flush=True)
    started = time.monotonic()

    def tell(one: Tried) -> None:
        mark = "  " if one.right else "!!"
        verdict = one.verdict
        print(
            f"{mark} {time.monotonic() - started:6.1f} s {one.group}/{one.name}: {verdict.state} at "
            f"{verdict.stage} in {verdict.seconds:.1f} s. {verdict.reason}",
            flush=True,
        )

    with (
        tempfile.TemporaryDirectory() as run,
        Judge(given.model, "cpu", Workload(steps=given.steps), Path(run), gate=given.gate) as judge,
    ):
        found = judge_all(judge, [path for path in paths if path not in left], tell)
    text = table(found, left)
    if given.out is not None:
        given.out.write_text(text, encoding="utf-8")
    print(text)
    return 0 if all(one.right for one in found) else 1


if __name__ == "__main__":
    sys.exit(main())
