"""Export for somebody else's runtime: a candidate as a folder that another program loads.

As `studio.work.export`: checks, engines, writing under a temporary name, then
the proof, which the other runtime itself draws where it is installed.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engines.devices import processor_name
from engines.layouts import Drawn, Layout, Spoken, Subject, layout
from engines.layouts.readme import readme
from engines.package import sums
from engines.package.likeness import EQUAL, Pixels, max_abs, psnr
from engines.package.manifest import Facts, read
from engines.package.place import check_place, move, sentences
from engines.package.runner import read_picture, write_picture
from studio.errors import ExportError
from studio.record.journal import Journal
from studio.record.state import CandidateState, RunState
from studio.work.consent import agree
from studio.work.export import LEAST_PSNR, Own, export_candidate, own_picture, place_of
from studio.work.exportable import Check, Examination, examine, without_torch
from studio.work.job import Job
from studio.work.package_contents import candidate_facts, golden_of, licence_text, package_name
from studio.work.proof import unproved

if TYPE_CHECKING:
    from engines.backends.base import Artifact
    from engines.models.model import Model
    from engines.plan import Plan

RECORD: Final = "pareto-studio.json"
STEPS: Final = 8

Tell = Callable[[int, str], None]


def export_as(
    job: Job,
    run: str,
    layout: str,
    candidate: str = "winner",
    out: str = "",
    replace: bool = True,
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `export_as`.

    Args:
        run: id or folder of a run.
        layout: `diffusers`, `openvino-genai`, `triton`, `hub` or `container`.
        candidate: id, `winner` or `knee`.
        out: as for `export`; the folder's own name then ends in the layout's.
        replace: put it in the place of an older export.
        without_walls: the user's word, where candidates would run though nothing limits them (`consent`).

    Returns:
        `layout`, `package` (the folder), `id`, `bytes`, `files`,
        `checks`, `left_out`: [sentence...],
        `proof`: {`own`, `package`, `difference` (PNGs relative to the run folder), `prompt`, `seed`, `psnr`
        and `max_abs` (against what it must draw), `psnr_candidate` (against the candidate's own), `runtime`,
        `note`}, `null` where nothing here could draw;
        `verified_on` (a sentence), `command` (a line for a terminal).

    Raises:
        ExportError: the layout cannot say the candidate, or draws another picture.
        RunError, JournalError: no such run or candidate.
        EngineError: it cannot be built, or not be written there.
    """
    agree(without_walls=without_walls)
    folder = job.run_folder(run)
    place = Path(out).expanduser() if out else None
    return export_candidate_as(folder, candidate, layout, place, replace=replace, on_progress=job.progress)


@dataclass(frozen=True, eq=False)
class Question:
    """A candidate and the layout that it shall become, before anything is built."""

    examination: Examination
    layout: Layout
    plan: Plan
    model: Model
    spoken: Spoken

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was found out without building."""
        found = list(own_checks(self.examination, self.layout, self.plan.device))
        if absent := self.layout.missing():
            found.append(Check("installed", "failed", absent))
        found += [Check("layout", "failed", sentence) for sentence in self.spoken.refused]
        found += [Check("left out", "warning", sentence) for sentence in self.spoken.left_out]
        return tuple(found)

    def to_json(self) -> dict[str, Any]:
        """As `Examination.to_json`, with this layout's checks."""
        failed = any(check.state == "failed" for check in self.checks)
        return self.examination.to_json() | {
            "ok": not failed,
            "explore_only": any(one.name == "exportable" and one.state == "failed" for one in self.checks),
            "checks": [asdict(check) for check in self.checks],
            "offers": self.examination.to_json()["offers"] if self.layout.takes_package else [],
        }


def own_checks(examination: Examination, asked: Layout, target: str) -> tuple[Check, ...]:
    """A candidate's checks; what brings an engine of its own does not ask for the candidate's."""
    others = tuple(check for check in examination.checks if check.name != "exportable")
    if not asked.takes_package:
        return others
    return (without_torch(examination, target, "other runtimes' packages"), *others)


def question(folder: Path, state: RunState, candidate: str, name: str) -> Question:
    """See whether a candidate can become a layout; builds and writes nothing.

    Raises:
        RunError, PackageError: no such candidate or layout.
        EngineError: the recipe no longer fits its model.
    """
    from engines.models.load import open_model
    from engines.pipeline import plan
    from engines.techniques import from_step
    from engines.workload import Workload

    asked = layout(name)
    examination = examine(folder, state, candidate)
    started = state.started
    if started is None:
        raise ExportError(f"The run {state.run} holds nothing yet; wait until its baseline is measured.")
    model = open_model(started.model.source)
    wanted = plan(
        model,
        started.target,
        Workload.model_validate(started.workload),
        [from_step(step) for step in examination.candidate.proposal.recipe],
    )
    return Question(examination, asked, wanted, model, asked.spoken(wanted, model))


def export_candidate_as(
    folder: Path,
    candidate: str,
    name: str,
    out: Path | None = None,
    *,
    replace: bool = True,
    on_progress: Callable[[int, int, str], None] = lambda _done, _total, _doing: None,
) -> dict[str, Any]:
    """See `export_as`; `folder` is the run's."""

    def tell(done: int, doing: str) -> None:
        on_progress(done, STEPS, doing)

    tell(0, "Checking")
    state = RunState.replay(Journal.read(folder))
    asked = question(folder, state, candidate, name)
    if failed := [check for check in asked.checks if check.state == "failed"]:
        raise ExportError(" ".join(check.text for check in failed))
    chosen = asked.examination.candidate
    place = place_of(out, folder / "package", f"{package_name(state, chosen)}-{name}")
    check_place(place, replace=replace)
    with sentences(place.parent, 0):
        place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="pareto-export-") as room, unproved(place) as partial:
        subject, own = _subject(folder, state, asked, Path(room), tell)
        tell(5, f"Writing for {asked.layout.title}")
        fill(asked.layout, subject, partial)
        tell(6, f"Drawing by {asked.layout.title}")
        drawn = asked.layout.draw(partial, own.prompt, own.seed)
        proof = _compared(subject, own, drawn)
        tell(7, "Recording the proof")
        said = _sentences(asked, proof)
        with sentences(place.parent, 0):
            (partial / RECORD).write_text(_record(asked, subject, proof), encoding="utf-8")
            if not (partial / "README.md").exists():
                (partial / "README.md").write_text(readme(asked.layout, subject, said), encoding="utf-8")
            identity = sums.write(partial)
            move(partial, place)
    tell(STEPS, "Done")
    return _result(folder, asked, subject, place, identity, own, drawn, proof, said)


def fill(layout: Layout, subject: Subject, partial: Path) -> None:
    """Write a layout's folder, all but its record and digests.

    Raises:
        EngineError: it cannot be written there.
    """
    with sentences(partial.parent, 0):
        partial.mkdir()
        layout.write(subject, partial)
        (partial / "LICENSE").write_text(subject.licence, encoding="utf-8")


def _subject(folder: Path, state: RunState, asked: Question, room: Path, tell: Tell) -> tuple[Subject, Own]:
    """Build what the layout takes, and the picture that it must draw."""
    chosen, spoken = asked.examination.candidate, asked.spoken
    left_out = list(spoken.left_out)
    artifacts: tuple[Artifact, ...] = ()
    if asked.layout.takes_engines:
        artifacts, lowered = _engines(spoken.plan, asked.layout, tell)
        left_out += lowered
    tell(2, "Making the Studio's own picture")
    own = own_picture(folder, state, chosen)
    expected = own.picture
    if _draws_otherwise(asked):
        tell(3, "Making the picture that it must draw")
        expected = _by_plan(spoken.plan, own)
    package = None
    if asked.layout.takes_package:
        tell(4, "Making the package")
        package = Path(export_candidate(folder, chosen.id, room / package_name(state, chosen))["package"])
        facts = read((package / sums.MANIFEST).read_bytes()).additional_metadata
    else:
        golden = golden_of(spoken.plan, own.prompt, own.seed, expected)
        facts = candidate_facts(state, chosen, spoken.plan, asked.model, artifacts, golden)
    subject = Subject(
        plan=spoken.plan,
        model=asked.model,
        name=package_name(state, chosen),
        title=chosen.proposal.title,
        prompt=own.prompt,
        seed=own.seed,
        picture=expected,
        facts=facts,
        licence=licence_text(asked.model),
        left_out=tuple(left_out),
        artifacts=artifacts,
        package=package,
        gallery=tuple(_pictures(folder, chosen).values()),
        reference={key: picture for key, (_, _, picture) in _pictures(folder, state.baseline).items()},
    )
    return subject, own


def _engines(plan: Plan, asked: Layout, tell: Tell) -> tuple[tuple[Artifact, ...], list[str]]:
    """The engines of a plan, and what of their precision was lowered.

    Raises:
        ExportError: a part of the model cannot be built for the layout's engine.
    """
    from engines.pipeline import prepare

    artifacts = prepare(plan, lambda _done, _total, doing: tell(1, f"Building {doing}"))
    for artifact in artifacts:
        if artifact.backend != plan.backend:
            reason = " ".join(artifact.fallbacks)
            raise ExportError(f"The candidate cannot be exported as {asked.name}: {reason}")
    return artifacts, [reason for artifact in artifacts for reason in artifact.fallbacks]


def _draws_otherwise(asked: Question) -> bool:
    """Whether it draws another picture than the candidate: in lower precision elsewhere, or less of it."""
    wanted, spoken = asked.plan, asked.spoken.plan
    same = wanted.precision == spoken.precision and (
        wanted.precision == "fp32" or (wanted.backend, wanted.device) == (spoken.backend, spoken.device)
    )
    return asked.spoken.other_picture or not same


def _by_plan(plan: Plan, own: Own) -> Pixels:
    from engines.pipeline import build

    picture: Pixels = build(plan).generate([own.prompt], [own.seed]).images[0]
    return picture


def _pictures(
    folder: Path, candidate: CandidateState | None
) -> dict[tuple[str, int], tuple[str, int, Pixels]]:
    """What a candidate drew when it was judged and is still there."""
    found = {}
    verdict = candidate.verdict if candidate is not None else None
    for sample in verdict.samples if verdict is not None else ():
        try:
            picture = read_picture(folder / sample.image)
        except OSError:
            continue
        found[sample.prompt, sample.seed] = (sample.prompt, sample.seed, picture)
    return found


# -- the proof ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Compared:
    """A layout's picture against the one that it must draw, and against the candidate's own."""

    runtime: str
    note: str
    psnr: float
    max_abs: int
    psnr_candidate: float


def _compared(subject: Subject, own: Own, drawn: Drawn | None) -> Compared | None:
    """Raises `ExportError` where the layout draws another picture."""
    if drawn is None:
        return None
    if drawn.picture.shape != subject.picture.shape:
        raise ExportError(
            f"{drawn.runtime} makes pictures of {drawn.picture.shape[1]} px where the Studio makes"
            f" {subject.picture.shape[1]} px; report this."
        )
    found = Compared(
        drawn.runtime,
        drawn.note,
        psnr(subject.picture, drawn.picture),
        max_abs(subject.picture, drawn.picture),
        psnr(own.picture, drawn.picture),
    )
    if found.psnr < LEAST_PSNR:
        raise ExportError(
            f"{drawn.runtime} draws another picture than the Studio ({found.psnr:.1f} dB, wanted"
            f" {LEAST_PSNR:.0f}); nothing was exported, report this."
        )
    return found


def _sentences(asked: Question, proof: Compared | None) -> list[str]:
    if proof is None:
        return [f"Not verified: {asked.layout.absent}, so nothing drew with this folder."]
    where = processor_name()
    alike = "equal" if proof.psnr >= EQUAL else f"alike ({proof.psnr:.1f} dB, at most {proof.max_abs} of 255)"
    what = (
        "the picture of the recipe as far as it is said here"
        if _draws_otherwise(asked)
        else "the candidate's own"
    )
    found = [f"Drawn on {where} by {proof.runtime}: its picture and {what} are {alike}."]
    if _draws_otherwise(asked):
        found.append(f"Against the candidate's own picture: {proof.psnr_candidate:.1f} dB.")
    return [*found, proof.note] if proof.note else found


def _record(asked: Question, subject: Subject, proof: Compared | None) -> str:
    checked = None
    if proof is not None:
        checked = asdict(proof) | {
            "time": datetime.now(UTC).replace(microsecond=0).isoformat(),
            "machine": processor_name(),
        }
    found = {
        "schema_version": "1.0",
        "layout": asked.layout.name,
        "name": subject.name,
        "left_out": list(subject.left_out),
        "proof": checked,
        "facts": _public(subject.facts),
    }
    return json.dumps(found, indent=2) + "\n"


def _public(facts: Facts) -> dict[str, Any]:
    """The facts as a package's manifest has them; its golden picture and wheels are the package's own."""
    found = facts.model_dump(mode="json", by_alias=True, exclude_none=True)
    for name in ("golden", "wheels"):
        found.pop(name, None)
    return found


def _result(
    folder: Path,
    asked: Question,
    subject: Subject,
    place: Path,
    identity: str,
    own: Own,
    drawn: Drawn | None,
    proof: Compared | None,
    said: list[str],
) -> dict[str, Any]:
    names = list(sums.walk(place))
    checks = [
        *(check for check in asked.checks if check.name != "left out"),
        *(Check("left out", "warning", sentence) for sentence in subject.left_out),
        Check("integrity", "ok", f"All {len(names)} files have their digests."),
        Check("proof", "ok" if proof is not None and not proof.note else "warning", " ".join(said)),
    ]
    shown = None
    if drawn is not None and proof is not None:
        shown = _shown(folder, asked, subject.picture, drawn.picture) | {
            "prompt": own.prompt,
            "seed": own.seed,
            **asdict(proof),
        }
    return {
        "layout": asked.layout.name,
        "package": str(place),
        "id": identity,
        "candidate": asked.examination.candidate.id,
        "bytes": sum((place / name).stat().st_size for name in names),
        "files": len(names),
        "checks": [asdict(check) for check in checks],
        "left_out": list(subject.left_out),
        "proof": shown,
        "verified_on": said[0],
        "command": asked.layout.used(subject).splitlines()[0].strip(),
    }


def _shown(folder: Path, asked: Question, expected: Pixels, drawn: Pixels) -> dict[str, str]:
    """Write both pictures and their difference into the run's folder."""
    kept = folder / "export" / f"{asked.examination.candidate.id}-{asked.layout.name}"
    with sentences(kept, 0):
        kept.mkdir(parents=True, exist_ok=True)
    difference = np.abs(expected.astype(np.int16) - drawn.astype(np.int16)).astype(np.uint8)
    found = {}
    for name, picture in {"own": expected, "package": drawn, "difference": difference}.items():
        write_picture(picture, kept / f"{name}.png")
        found[name] = (kept / f"{name}.png").relative_to(folder).as_posix()
    return found
