"""Export: from a candidate to a package that has proved itself.

Checks, engines, writing under a temporary name, then the proof: the package
makes its golden picture in a fresh environment, and the picture is compared
with the one that the candidate's own script made.  Only what passed gets its
name; until then what was there stays.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from dataclasses import replace as with_parts
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from engines.package import sums
from engines.package.evidence import Verification
from engines.package.likeness import Pixels, max_abs, psnr
from engines.package.manifest import Facts
from engines.package.place import check_place, move, sentences
from engines.package.runner import read_picture, write_picture
from engines.package.runtimes import ON_TORCH
from engines.package.verify import Verified
from engines.package.write import EngineFiles, amend, pack, write
from studio.errors import ExportError
from studio.record.journal import Journal
from studio.record.state import CandidateState, RunState
from studio.work.add_variant import proved
from studio.work.consent import agree
from studio.work.exportable import TORCH, Check, Examination, examine
from studio.work.job import Job
from studio.work.more_devices import variants
from studio.work.package_contents import make_contents, package_name, target_of
from studio.work.proof import Proof, prove, unchanged, unproved
from studio.work.trust import told, verified_sentence
from studio.work.usage import command

if TYPE_CHECKING:
    from engines.backends.base import Artifact
    from engines.plan import Plan

LEAST_PSNR: Final = 40.0
"""dB between the Studio's picture and the package's on the same machine; engines are deterministic there, so
what is below is another picture."""
STEPS: Final = 10

Tell = Callable[[int, str], None]
"""`(done of STEPS, doing)`."""


def export(
    job: Job,
    run: str,
    candidate: str = "winner",
    out: str = "",
    replace: bool = True,
    also: Sequence[str] = (),
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `export`.

    Args:
        run: id or folder of a run.
        candidate: id, `winner` or `knee`.
        out: an existing folder takes the package as a folder of its own and the `.pareto` beside it; else
            the package becomes `out` itself, with `out.pareto`; empty: into `RUN/package`.
        replace: put it in the place of an older package of the same candidate.
        also: devices that the package shall hold engines for beside the run's own; built, not verified.
        without_walls: the user's word, where candidates would run though nothing limits them (`consent`).

    Returns:
        `package` and `zip` (paths), `id`, `bytes` (of the folder), `zip_bytes`, `files`,
        `checks`: [{`name`, `state` ("ok" | "warning" | "failed"), `text`}...],
        `contents`: [{`path`, `bytes`}...],
        `proof`: {`own`, `package`, `difference` (PNGs relative to the run folder), `prompt`, `seed`,
        `psnr` (100: equal), `max_abs`, `seconds`, `fresh_environment`, `note`},
        `verified_on` (a sentence), `command` (a line for a terminal).

    Raises:
        ExportError: the candidate is explore only, or the package did not prove itself.
        RunError, JournalError: no such run or candidate.
        PackageError: it cannot be written there.
    """
    agree(without_walls=without_walls)
    folder = job.run_folder(run)
    return export_candidate(
        folder,
        candidate,
        Path(out).expanduser() if out else None,
        replace=replace,
        also=also,
        on_progress=job.progress,
    )


@dataclass(frozen=True, eq=False)
class Own:
    """The Studio's own picture, made by the candidate's script."""

    prompt: str
    seed: int
    picture: Pixels


def export_candidate(
    folder: Path,
    candidate: str,
    out: Path | None = None,
    *,
    replace: bool = True,
    also: Sequence[str] = (),
    on_progress: Callable[[int, int, str], None] = lambda _done, _total, _doing: None,
) -> dict[str, Any]:
    """See `export`; `folder` is the run's."""

    def tell(done: int, doing: str) -> None:
        on_progress(done, STEPS, doing)

    tell(0, "Checking")
    state = RunState.replay(Journal.read(folder))
    examination = examine(folder, state, candidate)
    if (failed := examination.failed) is not None:
        raise ExportError(" ".join([failed.text, *(offer.text for offer in examination.offers)]))
    chosen = examination.candidate
    place = place_of(out, folder / "package", package_name(state, chosen))
    check_place(place, replace=replace)
    with sentences(place.parent, 0):
        place.parent.mkdir(parents=True, exist_ok=True)
    plan, artifacts = build_engines(state, chosen, tell)
    tell(4, "Making the Studio's own picture")
    own = own_picture(folder, state, chosen)
    contents = make_contents(state, chosen, plan, artifacts, own.prompt, own.seed, own.picture)
    if also:
        tell(4, f"Building for {' and '.join(also)}")
        contents = with_parts(contents, engines=(*contents.engines, *variants(plan, also)))
    with unproved(place) as partial:
        tell(5, "Writing the package")
        written = write(contents, partial)
        _, *more = dict.fromkeys(part.engine.engine for part in contents.engines)
        proof = prove(
            partial,
            own.prompt,
            own.seed,
            lambda doing: tell(7, doing),
            native=True,  # it was compiled here, just now
            others=[engine for engine in more if plan.backend in TORCH and engine in ON_TORCH],
        )
        unchanged(partial, written.id)
        alike = compare(own.picture, proof)
        tell(8, "Recording the proof")
        verified = amend(partial, lambda facts: _recorded(facts, proof, alike, contents.engines))
        with sentences(place.parent, verified.bytes):
            move(partial, place)
    tell(9, "Packing the archive")
    archive = pack(place)
    tell(STEPS, "Done")
    return _result(folder, examination, verified, place, archive, own, proof, alike)


def place_of(out: Path | None, usual: Path, name: str) -> Path:
    """Where the package goes, as `cp` would have it; a package that lies there already is meant itself."""
    # Absolute: its name goes to processes that run elsewhere.
    if out is None:
        return usual.absolute() / name
    out = out.absolute()
    return out / name if out.is_dir() and not (out / sums.SUMS).is_file() else out


def build_engines(state: RunState, chosen: CandidateState, tell: Tell) -> tuple[Plan, tuple[Artifact, ...]]:
    """Build, or take from the cache, every engine of the recipe.

    Raises:
        ExportError: one of them fell back to torch.
    """
    from engines.pipeline import plan, prepare, settled
    from engines.techniques import from_step
    from engines.workload import Workload

    assert state.started is not None
    tell(1, "Looking for the engines")
    wanted = plan(
        state.started.model.source,
        state.started.target,
        Workload.model_validate(state.started.workload),
        [from_step(step) for step in chosen.proposal.recipe],
    )
    artifacts = prepare(wanted, lambda _done, _total, doing: tell(2, f"Building {doing}"))
    for artifact in artifacts:
        if artifact.backend != wanted.backend:
            reason = " ".join(artifact.fallbacks)
            raise ExportError(
                f"{chosen.id} is for exploring only: part of it fell back to {artifact.backend} ({reason})"
            )
    return settled(wanted, artifacts), artifacts


def own_picture(folder: Path, state: RunState, chosen: CandidateState) -> Own:
    """The first gate picture of the candidate; where there is none, its script makes one now.

    Raises:
        RunError: its script cannot make one any more.
    """
    assert state.started is not None
    for sample in chosen.verdict.samples if chosen.verdict else ():
        try:
            picture = read_picture(folder / sample.image)
        except OSError:
            continue
        if picture.shape[0] == (state.started.workload.get("size") or state.started.model.size):
            return Own(sample.prompt, sample.seed, picture)
    prompts = state.started.workload.get("prompts") or _prompts(state)
    return Own(prompts[0], 7, _by_script(folder, state, chosen, prompts[0], 7))


def _prompts(state: RunState) -> list[str]:
    from engines.models.load import open_model
    from engines.scenes.grammar import captions

    assert state.started is not None
    if open_model(state.started.model.source).prompt_source == "scenes":
        return captions(1, 7)
    return ["a photograph of a mountain lake at dawn"]


def _by_script(folder: Path, state: RunState, chosen: CandidateState, prompt: str, seed: int) -> Pixels:
    from studio.work.drawing import Drawing

    with Drawing(folder, state) as drawing:
        picture: Pixels = drawing.draw(chosen.id, [prompt], [seed]).images[0]
    return picture


@dataclass(frozen=True, slots=True)
class Alike:
    """The package's picture against the Studio's own."""

    psnr: float
    max_abs: int


def compare(own: Pixels, proof: Proof) -> Alike:
    """Raises `ExportError` where the package's picture is another one."""
    if proof.picture.shape != own.shape:
        raise ExportError(
            f"The package makes pictures of {proof.picture.shape[1]} px where the Studio makes "
            f"{own.shape[1]} px; report this."
        )
    found = Alike(psnr(own, proof.picture), max_abs(own, proof.picture))
    if found.psnr < LEAST_PSNR:
        raise ExportError(
            f"The package's picture is not the Studio's own ({found.psnr:.1f} dB, wanted {LEAST_PSNR:.0f}); "
            "nothing was exported, judge the candidate again."
        )
    return found


def verification(proof: Proof, alike: Alike) -> Verification:
    return Verification(
        time=datetime.now(UTC).replace(microsecond=0),
        target=target_of("", ""),
        python=platform.python_version(),
        fresh_environment=proof.environment.fresh,
        psnr=alike.psnr,
        max_abs=alike.max_abs,
        seconds=round(proof.seconds, 4),
        note=proof.environment.note,
        variants=dict(proof.variants),
    )


def with_verification(facts: Facts, check: Verification) -> Facts:
    built = facts.built_for
    target = target_of(built.engine, built.engine_version, built.device)
    proved = check.model_copy(update={"target": target})
    return facts.model_copy(update={"verified_on": (*facts.verified_on, proved)})


def _recorded(facts: Facts, proof: Proof, alike: Alike, parts: Sequence[EngineFiles]) -> Facts:
    """The proof, and what the variants did that take over where the first cannot run."""
    facts = with_verification(facts, verification(proof, alike))
    for engine, test in proof.others.items():
        if test.passed:
            facts = proved(facts, next(part for part in parts if part.engine.engine == engine), test)
    return facts


def _result(
    folder: Path,
    examination: Examination,
    verified: Verified,
    place: Path,
    archive: Path,
    own: Own,
    proof: Proof,
    alike: Alike,
) -> dict[str, Any]:
    kept = folder / "export" / examination.candidate.id
    with sentences(kept, 0):
        kept.mkdir(parents=True, exist_ok=True)
    difference = np.abs(own.picture.astype(np.int16) - proof.picture.astype(np.int16))
    pictures = {"own": own.picture, "package": proof.picture, "difference": difference.astype(np.uint8)}
    for name, picture in pictures.items():
        write_picture(picture, kept / f"{name}.png")
    check = verified.manifest.additional_metadata.verified_on[0]
    fallbacks = [Check("fallback", "warning", text) for text in proof.fallbacks]
    checks = [
        *examination.checks,
        Check("integrity", "ok", f"All {verified.files} files have their digests."),
        Check("proof", "ok" if check.fresh_environment else "warning", verified_sentence(check)),
        *fallbacks,
        *(Check("variant", "warning", one.text) for one in proof.others.values() if not one.passed),
        *(Check(name, "ok", text) for name, text in told(verified)),
    ]
    return {
        "package": str(place),
        "zip": str(archive),
        "id": verified.id,
        "candidate": examination.candidate.id,
        "bytes": verified.bytes,
        "zip_bytes": archive.stat().st_size,
        "files": verified.files,
        "checks": [asdict(one) for one in checks],
        "contents": [{"path": name, "bytes": (place / name).stat().st_size} for name in sums.walk(place)],
        "proof": {
            **{name: (kept / f"{name}.png").relative_to(folder).as_posix() for name in pictures},
            "prompt": own.prompt,
            "seed": own.seed,
            "psnr": alike.psnr,
            "max_abs": alike.max_abs,
            "seconds": proof.seconds,
            "whole_seconds": proof.whole_seconds,
            "fresh_environment": proof.environment.fresh,
            "note": proof.environment.note,
        },
        "verified_on": verified_sentence(check),
        "command": command(place, verified.manifest),
    }
