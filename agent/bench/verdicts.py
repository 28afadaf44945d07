"""Verdicts that are kept: the same script on the same work is judged once, whichever agent wrote it."""

from __future__ import annotations

import ast
import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from agent.candidate import BuiltEngine, Candidate, Census, Counted, Interval, Sample, Stage, Verdict
from agent.together import JudgeLike

_INTERVALS: Final = ("latency", "speedup", "loss")


def fingerprint(script: str) -> str:
    """Equal for scripts that differ in comments, layout and docstrings only."""
    try:
        tree = ast.parse(script)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return hashlib.sha256(script.encode()).hexdigest()[:24]
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef)
            and ast.get_docstring(node) is not None
        ):
            node.body = node.body[1:] or [ast.Pass()]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:24]


def to_json(verdict: Verdict) -> dict[str, Any]:
    return asdict(verdict)


def from_json(fields: dict[str, Any]) -> Verdict:
    """Raises `ValueError`, `KeyError` or `TypeError` for what is no verdict."""
    found = dict(fields)
    for name in _INTERVALS:
        found[name] = None if found.get(name) is None else Interval(**found[name])
    found["metrics"] = {name: Interval(**one) for name, one in found.get("metrics", {}).items()}
    found["throughput"] = {int(size): rate for size, rate in found.get("throughput", {}).items()}
    found["samples"] = tuple(Sample(**one) for one in found.get("samples", ()))
    found["engines"] = tuple(BuiltEngine(**one) for one in found.get("engines", ()))
    if (counted := found.get("census")) is not None:
        sides = {int(side): share for side, share in counted["sides"].items()}
        components = tuple(Counted(**one) for one in counted["counted"])
        found["census"] = Census(**{**counted, "sides": sides, "counted": components})
    found["fallbacks"] = tuple(found.get("fallbacks", ()))
    return Verdict(**found)


def kept_lines(file: Path) -> list[str]:
    """Lines of a file that is only ever added to; one that was cut short by a kill is ended first."""
    text = file.read_text(encoding="utf-8") if file.exists() else ""
    if text and not text.endswith("\n"):
        with file.open("a", encoding="utf-8") as cut:
            cut.write("\n")
    return text.splitlines()


class KeptJudge:
    """A judge with a memory, one JSON line a verdict in `file`; damaged lines are judged again."""

    def __init__(self, judge: JudgeLike, file: Path) -> None:
        self._judge, self._file = judge, file
        self._baseline: Verdict | None = None
        self._known: dict[str, Verdict] = {}
        self.fresh = 0
        """Verdicts that were really made, not remembered."""
        for line in kept_lines(file):
            try:
                fields = json.loads(line)
                self._known[str(fields["script"])] = from_json(fields["verdict"])
            except (ValueError, KeyError, TypeError):
                continue

    def baseline(self) -> Verdict:
        if self._baseline is None:
            self._baseline = self._judge.baseline()
        return self._baseline

    def judge(self, candidate: Candidate, on_stage: Callable[[Stage, str], None]) -> Verdict:
        mark = fingerprint(candidate.script)
        if mark not in self._known:
            self.fresh += 1
            verdict = self._judge.judge(candidate, on_stage)
            self._known[mark] = verdict
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("a", encoding="utf-8") as kept:
                kept.write(json.dumps({"script": mark, "verdict": to_json(verdict)}) + "\n")
        return self._known[mark]
