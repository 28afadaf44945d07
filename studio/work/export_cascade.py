"""Export a cascade: light, heavy, discriminator and threshold as one package that has proved itself.

As `studio.work.export`, for a pair of candidates, of one model or of two, and what was learned about them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from dataclasses import replace as with_parts
from pathlib import Path
from typing import Any, Final

import numpy as np

from engines.package import sums
from engines.package.likeness import EQUAL
from engines.package.manifest import Facts
from engines.package.place import check_place, move, sentences
from engines.package.runtimes import ON_TORCH
from engines.package.verify import Verified
from engines.package.write import amend, pack, write
from studio.errors import CascadeError, ExportError
from studio.plan.cascade import Cascade
from studio.record.sides import Pair, Side, mismatch, pair_of
from studio.work.cascade.engine import build, workshop
from studio.work.cascade.files import NETWORK, trained
from studio.work.cascade.models import opened_both
from studio.work.cascade.proof import Proofs, prove
from studio.work.cascade.together import SCORE_TOLERANCE, Half, together
from studio.work.consent import agree
from studio.work.discriminator import train
from studio.work.export import (
    Alike,
    Own,
    build_engines,
    compare,
    own_picture,
    place_of,
    verification,
    with_verification,
)
from studio.work.exportable import ENGINES, Check, examine, without_torch
from studio.work.job import Job
from studio.work.more_devices import variants
from studio.work.package_contents import make_contents, package_name
from studio.work.proof import unchanged, unproved
from studio.work.trust import told, verified_sentence
from studio.work.usage import command

STEPS: Final = 14
USUAL_SHARE: Final = 0.3
"""Deferred where the user names no threshold and none is guarded."""

OnProgress = Callable[[int, int, str], None]


def export_cascade(
    job: Job,
    run: str,
    light: str,
    heavy: str,
    threshold: float | None = None,
    out: str = "",
    replace: bool = True,
    also: Sequence[str] = (),
    without_walls: bool = False,
) -> dict[str, Any]:
    """Command `export_cascade`.

    Args:
        run: id or folder of a run.
        light: candidate that answers first; `heavy`: candidate that the rest is deferred to; one of them may
            belong to another run: `OTHER_RUN/CANDIDATE`.
        threshold: light pictures with a lower score are deferred; left out: the guarded threshold, else the
            one that defers nearest to `USUAL_SHARE`.
        out: as for `export`.
        replace: put it in the place of an older package of the same cascade.
        also: devices that the package shall hold engines of both models for beside the run's own; built, not
            verified.  The discriminator gets a variant for ONNX Runtime on a CPU, which all its wheels can.
        without_walls: the user's word, where candidates would run though nothing limits them (`consent`).

    Returns:
        `package`, `zip`, `id`, `bytes`, `zip_bytes`, `files`, `light`, `heavy`, `threshold`, `share`,
        `checks`, `contents`, `proof` (`light` and `heavy`: `psnr`, `max_abs`, `seconds`; `score`, `decision`,
        `fresh_environment`, `note`), `verified_on`, `command`, `serve`.

    Raises:
        ExportError: one of the candidates is explore only, or the package did not prove itself.
        CascadeError: nothing can be learned from the pair.
        RunError, JournalError: no such run or candidate.
        ModelError: the model of one of them is no longer there.
        PackageError: it cannot be written there.
    """
    agree(without_walls=without_walls)
    folder = job.run_folder(run)
    return export_pair(
        folder,
        light,
        heavy,
        threshold,
        Path(out).expanduser() if out else None,
        replace=replace,
        also=also,
        home=job.home,
        on_progress=job.progress,
    )


def export_pair(
    folder: Path,
    light: str,
    heavy: str,
    threshold: float | None = None,
    out: Path | None = None,
    *,
    replace: bool = True,
    also: Sequence[str] = (),
    home: Path | None = None,
    on_progress: OnProgress = lambda _done, _total, _doing: None,
) -> dict[str, Any]:
    """See `export_cascade`; `folder` is the run's, `home` where other runs lie."""

    def tell(done: int, doing: str) -> None:
        on_progress(done, STEPS, doing)

    tell(0, "Checking")
    if threshold is not None and not (math.isfinite(threshold) and threshold >= 0):
        raise ExportError(f"The threshold {threshold} makes no sense; give a number from 0 to 1.")
    if torch := [name for name in also if name in ON_TORCH]:
        raise ExportError(f"A cascade's package holds no engines of torch; leave --also {torch[0]} out.")
    pair = pair_of(folder, light, heavy, home)
    checks = _examined(pair)
    name = _name(pair)
    place = place_of(out, folder / "package", name)
    check_place(place, replace=replace)
    with sentences(place.parent, 0):
        place.parent.mkdir(parents=True, exist_ok=True)
    cascade = _trained(pair, home, lambda doing: tell(1, doing))
    at = _threshold(cascade, threshold)
    sides = (_half(pair.light, 1, also, tell), _half(pair.heavy, 4, also, tell))
    with workshop() as bench:
        tell(7, "Building the discriminator")
        own = sides[1].backend if sides[1].backend in ENGINES else ENGINES[0]
        judges = tuple(
            build(
                folder / cascade.folder / NETWORK,
                backend,
                Path(bench) / backend,
                sides[0].own.picture[None],
                [sides[0].own.prompt],
            )
            for backend in dict.fromkeys((own, *(("onnxruntime",) if also else ())))
        )
        contents = together(name, cascade, at, sides[0], sides[1], judges)
        with unproved(place) as partial:
            tell(8, "Writing the package")
            written = write(contents, partial)
            asked = {role: (side.own.prompt, side.own.seed) for role, side in zip(_ROLES, sides, strict=True)}
            proofs = prove(partial, asked, lambda doing: tell(10, doing))
            unchanged(partial, written.id)
            alike = _compared(proofs, sides[0].own, sides[1].own, float(judges[0].scores[0]), at)
            tell(12, "Recording the proof")
            verified = amend(partial, lambda facts: _recorded(facts, proofs, alike))
            with sentences(place.parent, verified.bytes):
                move(partial, place)
    tell(13, "Packing the archive")
    archive = pack(place)
    tell(STEPS, "Done")
    return _result(place, archive, verified, cascade, at, checks, proofs, alike)


_ROLES: Final = ("light", "heavy")


def _name(pair: Pair) -> str:
    """For example `tiny-scenes-c012-c003`; a candidate of another run has the name of that run too."""
    own = pair.own
    parts = [package_name(own.state, own.candidate).removesuffix(f"-{own.candidate.id}")]
    for side in pair:
        parts += [side.candidate.id] if side.run == own.run else [side.run.name, side.candidate.id]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", "-".join(parts))


def _examined(pair: Pair) -> list[Check]:
    """What is to be said about both candidates before anything is built.

    Raises:
        ExportError: one of them cannot be exported.
        CascadeError: they draw nothing that can stand beside each other, or a model was changed.
    """
    found = []
    if pair.other is not None and (said := mismatch(pair.own, pair.other, prompts=True)):
        raise CascadeError(said)
    opened_both(pair)
    for role, side in zip(_ROLES, pair, strict=True):
        examination = examine(side.run, side.state, side.candidate.id)
        if (failed := examination.failed) is not None:
            raise ExportError(" ".join([failed.text, *(offer.text for offer in examination.offers)]))
        target = side.state.started.target if side.state.started else "cpu"
        light = without_torch(examination, target, "packages of cascades")
        if light.state == "failed":
            raise ExportError(light.text)
        found += [with_parts(check, name=f"{role}: {check.name}") for check in examination.checks]
    return found


def _trained(pair: Pair, home: Path | None, tell: Callable[[str], None]) -> Cascade:
    """What was learned about the pair; where there is nothing yet, it is learned now."""
    known = trained(pair)
    if known is not None and (pair.place / NETWORK).is_file():
        return known[1]
    return train(
        pair.run,
        pair.light.name,
        pair.heavy.name,
        home=home,
        on_progress=lambda done, total, doing: tell(f"{doing} {done}/{total}"),
    )


def _threshold(cascade: Cascade, wanted: float | None) -> float:
    if wanted is not None:
        return float(wanted)
    if cascade.guarded is not None:
        return cascade.guarded
    return min(cascade.curve, key=lambda one: abs(one.share - USUAL_SHARE)).threshold


def _half(side: Side, step: int, also: Sequence[str], tell: Callable[[int, str], None]) -> Half:
    state, candidate = side.state, side.candidate
    plan, artifacts = build_engines(state, candidate, lambda _, doing: tell(step, f"{side.name}: {doing}"))
    tell(step + 2, f"{side.name}: Making the Studio's own picture")
    own = own_picture(side.run, state, candidate)
    contents = make_contents(state, candidate, plan, artifacts, own.prompt, own.seed, own.picture)
    if also:
        tell(step + 2, f"{side.name}: Building for {' and '.join(also)}")
        contents = with_parts(contents, engines=(*contents.engines, *variants(plan, also)))
    return Half(side, contents, own, plan.backend)


def _compared(proofs: Proofs, light: Own, heavy: Own, score: float, threshold: float) -> dict[str, Alike]:
    """Raises `ExportError` where the package draws or decides otherwise than the Studio."""
    found = {"light": compare(light.picture, proofs.light), "heavy": compare(heavy.picture, proofs.heavy)}
    if not np.isfinite(proofs.score) or abs(proofs.score - score) > SCORE_TOLERANCE:
        raise ExportError(
            f"The package's discriminator says {proofs.score:.3f} where the Studio's says {score:.3f}; "
            "nothing was exported, train the discriminator again."
        )
    if proofs.decision != ("light" if proofs.score >= threshold else "heavy"):
        raise ExportError("The package does not decide by its threshold; nothing was exported, report this.")
    return found


def _recorded(facts: Facts, proofs: Proofs, alike: dict[str, Alike]) -> Facts:
    cascade = facts.cascade
    assert cascade is not None
    light = with_verification(cascade.light, verification(proofs.light, alike["light"]))
    proved = with_verification(facts, verification(proofs.heavy, alike["heavy"]))
    return proved.model_copy(update={"cascade": cascade.model_copy(update={"light": light})})


def _result(
    place: Path,
    archive: Path,
    verified: Verified,
    cascade: Cascade,
    threshold: float,
    checks: list[Check],
    proofs: Proofs,
    alike: dict[str, Alike],
) -> dict[str, Any]:
    facts = verified.manifest.additional_metadata
    assert facts.cascade is not None
    share = facts.cascade.share
    check = facts.verified_on[-1]
    said = f"{share:.0%} of the measured prompts are deferred at {threshold:.4g}."
    if share in (0.0, 1.0):
        said += " One of the models alone would do; choose another threshold."
    light_psnr = alike["light"].psnr
    sentence = (
        f"{verified_sentence(check)} So are those of the light model"
        f"{'' if light_psnr >= EQUAL else f' ({light_psnr:.1f} dB)'}, "
        f"and the score is {proofs.score:.3f}."
    )
    shown = [
        *checks,
        Check("threshold", "warning" if share in (0.0, 1.0) else "ok", said),
        Check("integrity", "ok", f"All {verified.files} files have their digests."),
        Check("proof", "ok" if check.fresh_environment else "warning", sentence),
        *(Check("fallback", "warning", text) for text in (*proofs.light.fallbacks, *proofs.heavy.fallbacks)),
        *(Check(name, "ok", text) for name, text in told(verified)),
    ]
    return {
        "package": str(place),
        "zip": str(archive),
        "id": verified.id,
        "light": cascade.light,
        "heavy": cascade.heavy,
        "threshold": threshold,
        "share": share,
        "bytes": verified.bytes,
        "zip_bytes": archive.stat().st_size,
        "files": verified.files,
        "checks": [asdict(one) for one in shown],
        "contents": [{"path": name, "bytes": (place / name).stat().st_size} for name in sums.walk(place)],
        "proof": {
            **{
                role: {
                    "psnr": alike[role].psnr,
                    "max_abs": alike[role].max_abs,
                    "seconds": getattr(proofs, role).seconds,
                }
                for role in _ROLES
            },
            "score": proofs.score,
            "decision": proofs.decision,
            "fresh_environment": proofs.light.environment.fresh,
            "note": proofs.light.environment.note,
        },
        "verified_on": sentence,
        "command": command(place, verified.manifest),
        "serve": f"pareto-studio serve {place}",
    }
