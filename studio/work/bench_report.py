"""DiffBench's report in Markdown, beside the published table and beside other agents on the same tasks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from agent.bench.score import Scored

_AIMED: Final = (
    "L4 and L5 ask for a share of the gain that {search} evaluations of the built-in agent found under "
    "the same bound ({shares}). It looks again for what it found: its own rate says how well it searches "
    "when it is told what for, not how good it is beside others. A script that was judged before, by "
    "whichever agent, keeps its verdict. The built-in agent reads a task's structured form and not its "
    "words: L1 to L3 try its scripts and not its understanding."
)
_ONCE: Final = (
    "Without *loop*: the built-in planner's first recipe, judged once: no repair, no feedback, no search. "
    "With that recipe it begins to learn what single techniques are worth; it is no bet on the task. A "
    "language model's one answer is another thing, and is not measured by it."
)
_FAMILIES: Final = (
    "Passed of tasks. A model's loss is in the metric that exists for it: losses in different metrics do "
    "not compare."
)


def by_family(scored: Sequence[Scored]) -> list[dict[str, Any]]:
    """`{"family", "model", "rates": [...]}` of each model, in the order of the tasks."""
    from agent.bench.score import rates

    models = dict.fromkeys((one.family, one.model) for one in scored)
    return [
        {
            "family": family,
            "model": model,
            "rates": rates([one for one in scored if (one.family, one.model) == (family, model)]),
        }
        for family, model in models
    ]


def others(report: dict[str, Any], folder: Path) -> list[dict[str, Any]]:
    """Reports of other agents on the same work: those in the folders beside `folder`, of the same tasks."""
    mine = _tasks(report)
    found = []
    for path in sorted(folder.parent.glob("*/report.json")):
        if path.parent == folder:
            continue
        try:
            other = json.loads(path.read_text(encoding="utf-8"))
            if mine and _tasks(other) == mine and other["rates"][0]["interval"]:
                found.append(other)
        except (OSError, ValueError, KeyError, IndexError, TypeError):
            continue  # of an older version, or half written
    return found


def text(report: dict[str, Any], beside: list[dict[str, Any]]) -> str:
    """The report; `beside` are reports of other agents on the same tasks."""
    from agent.bench.score import FAILURES, PUBLISHED
    from agent.bench.tasks import DIFFICULTIES

    machine = report["machine"]
    lines = [
        f"# DiffBench: {_who(report)}",
        "",
        (
            f"{_models(report)} on {report['target']}; {machine.get('processor', 'unknown processor')}, "
            f"{machine.get('cores', '?')} cores; {report['date']}; seed {report['seed']}; "
            f"{len(report['results'])} of {report['tasks']} tasks drawn from {report['generated']}. "
            "In brackets: Wilson's 95 % interval."
        ),
        "",
        "| Level | Tasks | Passed | Pass rate | Achievement | Evaluations | " + " | ".join(FAILURES) + " |",
        "|---|---:|---:|---:|---:|---:|" + "---:|" * len(FAILURES),
    ]
    for row in report["rates"]:
        achieved = row["achievement_rate"]
        cells = [
            row["level"],
            str(row["tasks"]),
            str(row["passed"]),
            _rate(row),
            "" if achieved is None else f"{achieved:.1%}",
            str(row["evaluations"]),
            *(str(row["failures"].get(name, "")) for name in FAILURES),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    if report["difficulties"]:
        lines += ["", "## By difficulty", "", *_difficulties(report)]
    if any(row["level"] in ("L4", "L5") for row in report["rates"]):
        shares = ", ".join(f"{name} {share:.0%}" for name, share in DIFFICULTIES)
        lines += ["", _AIMED.format(search=report["search"], shares=shares)]
    if any("loop" in one["without"] for one in (report, *beside)):
        lines += ["", _ONCE]
    if report["language_model"] is not None:
        lines += ["", f"Language model: {report['language_model']['text']}."]
    if report["ended"]:
        lines += ["", f"Not finished: {report['ended']}"]
    if len(report["families"]) > 1:
        lines += ["", "## By family", "", *_families(report), "", _FAMILIES]
    if beside:
        lines += ["", "## The same tasks", "", *_side_by_side([report, *beside])]
    lines += [
        "",
        "Published pass rates in % (arXiv 2601.03178), for orientation: other tasks, other models, a GPU.",
        "",
        "| | L1 | L2 | L3 | L4 | L5 | all |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, figures in PUBLISHED.items():
        lines.append(f"| {name} | {' | '.join(f'{one:.2f}' for one in figures)} |")
    lines += ["", "## Parts left out, and hard tasks", "", *_parts([report, *beside])]
    failed = [one for one in report["results"] if not one["passed"]]
    if failed:
        lines += ["", "## Not passed", ""]
        lines += [f"- {one['task']} ({one['failure']}): {one['text']} {one['reason']}" for one in failed]
    return "\n".join(lines) + "\n"


def _families(report: dict[str, Any]) -> list[str]:
    """Passed of tasks by level, a model a row."""
    levels = [row["level"] for row in report["rates"]]
    metrics = {one["name"]: one["metric"] for one in report["models"]}
    lines = [
        f"| Family | Model | Loss | {' | '.join(levels)} | Achievement | Evaluations |",
        f"|---|---|---|{'---:|' * (len(levels) + 2)}",
    ]
    for one in report["families"]:
        rows = {row["level"]: row for row in one["rates"]}
        achieved = rows["all"]["achievement_rate"]
        cells = [
            one["family"],
            one["model"],
            metrics[one["model"]],
            *(
                f"{rows[level]['passed']} of {rows[level]['tasks']}" if level in rows else ""
                for level in levels
            ),
            "" if achieved is None else f"{achieved:.1%}",
            str(rows["all"]["evaluations"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _difficulties(report: dict[str, Any]) -> list[str]:
    """Pass and achievement rates of L4 and L5 by how much of the gain they ask for."""
    lines = [
        "| Difficulty | Level | Tasks | Passed | Pass rate | Achievement | Evaluations |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for row in report["difficulties"]:
        counts = f"{row['tasks']} | {row['passed']} | {_rate(row)} | {_achieved(row)} | {row['evaluations']}"
        level = "L4 and L5" if row["level"] == "all" else row["level"]
        lines.append(f"| {row['difficulty']} | {level} | {counts} |")
    return lines


def _parts(reports: list[dict[str, Any]]) -> list[str]:
    """Pass rate of all tasks and achievement of the hard ones: ours, then what was published."""
    from agent.bench.score import PUBLISHED_PARTS

    lines = ["| | Pass rate | Achievement on hard tasks |", "|---|---:|---:|"]
    for report in reports:
        everything = next(row for row in report["rates"] if row["level"] == "all")
        lines.append(f"| {_who(report)} | {everything['pass_rate']:.1%} | {_hard(report)} |")
    for name, (passed, achieved) in PUBLISHED_PARTS.items():
        lines.append(f"| {name} | {passed:.2f} | {achieved:.2f} |")
    return [*lines, "", "Published rows in %, for orientation as above; ours are of this report's tasks."]


def _hard(report: dict[str, Any]) -> str:
    """Achievement of the hard tasks; from the results, for reports of earlier versions have no such row."""
    found = [one["achievement"] for one in report["results"] if one["difficulty"] == "hard"]
    known = [one for one in found if one is not None]
    return f"{sum(known) / len(known):.1%} of {len(known)}" if known else "none drawn"


def _achieved(row: dict[str, Any]) -> str:
    return "" if row["achievement_rate"] is None else f"{row['achievement_rate']:.1%}"


def _models(report: dict[str, Any]) -> str:
    """`Tiny Scenes (stable-diffusion; loss: adherence), ...`."""
    return ", ".join(f"{one['name']} ({one['family']}; loss: {one['metric']})" for one in report["models"])


def _side_by_side(reports: list[dict[str, Any]]) -> list[str]:
    """Pass rates by level, an agent a row."""
    levels = [row["level"] for row in reports[0]["rates"]]
    lines = [
        f"| | {' | '.join(levels)} | Achievement | Evaluations |",
        f"|---|{'---:|' * (len(levels) + 2)}",
    ]
    for report in reports:
        rows = {row["level"]: row for row in report["rates"]}
        total = rows["all"]
        achieved = total["achievement_rate"]
        cells = [
            _who(report),
            *(_rate(rows[level]) for level in levels),
            "" if achieved is None else f"{achieved:.1%}",
            str(total["evaluations"]),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _rate(row: dict[str, Any]) -> str:
    low, high = row["interval"]
    return f"{row['pass_rate']:.1%} ({100 * low:.0f} to {100 * high:.0f})"


def _who(report: dict[str, Any]) -> str:
    """`built-in, without knowledge`, `llm with MODEL at URL`."""
    who = str(report["agent"]) + "".join(f", without {part}" for part in report["without"])
    if report["language_model"] is not None:
        who += f" with {report['language_model']['model']} at {report['language_model']['url']}"
    preset = report.get("preset", "hybrid")  # all there was before it was kept
    return who if preset == "hybrid" else f"{who}, preset {preset}"


def _tasks(report: dict[str, Any]) -> set[str]:
    return {str(one["task"]) for one in report["results"]}
