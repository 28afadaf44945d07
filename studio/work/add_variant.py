"""Command `add_variant`: engines for another device or in another precision into a package that is there."""

from __future__ import annotations

import platform
import tempfile
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast, get_args

from engines.errors import PackageError
from engines.package.archive import beside
from engines.package.components import OPENS
from engines.package.evidence import Verification
from engines.package.extend import extend, parts_of
from engines.package.manifest import Engine, Facts
from engines.package.place import copy, move, sentences
from engines.package.runtimes import REQUIREMENTS, requirements_of
from engines.package.sums import walk
from engines.package.verify import Verified, verify
from engines.package.write import EngineFiles, amend, pack
from studio.errors import ExportError
from studio.record.journal import Journal
from studio.record.library import find_run
from studio.record.state import RunState
from studio.work.job import Job
from studio.work.package_contents import packed, target_of
from studio.work.proof import SelfTest, self_test
from studio.work.torch_parts import BACKEND
from studio.work.trust import variants

if TYPE_CHECKING:
    from engines.plan import Backend, Plan, Precision

ENGINE_ONLY: Final = frozenset(
    {"engine", "fp32", "bf16", "int8", "weight-bits", "compute-units", "channels-last"}
)
"""Techniques that choose how the same graph is computed; packages that differ in no other fit each other."""
STEPS: Final = 4


def add_variant(
    job: Job,
    package: str,
    engine: str = "",
    device: str = "",
    precision: str = "",
    other: str = "",
    run: str = "",
    first: bool = False,
) -> dict[str, Any]:
    """Command `add_variant`.

    Args:
        package: a folder; the archive beside it is packed anew.
        engine: build it from the run that the package was made from ...
        other: ... or take all variants of this package of the same model.
        device: what the engine is for; empty: the first that it serves.
        precision: empty: the device's own.
        run: the package's run, where it has another name by now.
        first: tried before the variants that are there.

    Returns:
        `package`, `id`, `added` (names), `variants` (as `verify` has them), `verified` (whether each of
        the added was proved here), `text` (how that went), `unsigned` (whether a signature was lost by it).

    Raises:
        ExportError: there is no such run, or the engine cannot be built.
        PackageError: the variant is there already, or is of another model.
    """
    place = Path(package).expanduser()
    if not place.is_dir():
        raise PackageError(f"{place} is no folder; unpack the package first.")
    job.progress(0, STEPS, "Checking the package")
    before = verify(place)
    if before.manifest.additional_metadata.cascade is not None:
        raise ExportError(
            "A cascade gets its variants when it is exported; export it again with --also DEVICE."
        )
    if other:
        parts = _of_another(before, Path(other).expanduser())
    else:
        parts = _built(job, before, engine, device, precision, run)
    there = {(name, key) for name, body in before.manifest.components.items() for key in body.variants}
    parts = tuple(part for part in parts if (part.component, part.variant) not in there)
    if not parts:
        raise PackageError("The package has these variants already.")
    names = list(dict.fromkeys(part.variant for part in parts))
    job.progress(2, STEPS, "Writing the package")
    with sentences(place.parent, before.bytes), tempfile.TemporaryDirectory(dir=place.parent) as room:
        trial = Path(room) / place.name
        for name in walk(place):
            copy(place / name, trial / name)
        after = extend(trial, parts, first=first)
        tests: list[SelfTest] = []
        for name in names:
            job.progress(3, STEPS, f"Trying {name} here")
            part = next(one for one in parts if one.variant == name)
            tests.append(_try(trial, after.manifest.additional_metadata, part, own=not other))
            if tests[-1].passed:
                after = amend(trial, partial(proved, part=part, test=tests[-1]))
        move(trial, place)
    for archive in beside(place):
        pack(place, archive)
    return {
        "package": str(place),
        "id": after.id,
        "added": names,
        "variants": variants(after.manifest),
        "verified": all(test.passed for test in tests),
        "text": " ".join(test.text for test in tests),
        "unsigned": before.signature is not None,
    }


def _of_another(before: Verified, other: Path) -> tuple[EngineFiles, ...]:
    parts = parts_of(other)
    one, two = before.manifest.additional_metadata, verify(other).manifest.additional_metadata
    if one.source_model.hash != two.source_model.hash:
        raise PackageError(
            f"{other.name} is of {two.source_model.name}, not of the same {one.source_model.name}; "
            "give a package of the same model."
        )
    recipes = [
        [step for step in facts.techniques if step.technique not in ENGINE_ONLY] for facts in (one, two)
    ]
    if recipes[0] != recipes[1] or one.host_loop != two.host_loop:
        raise PackageError(
            f"{other.name} was made by another recipe; only engine and precision may differ between variants."
        )
    return parts


def _built(
    job: Job, before: Verified, engine: str, device: str, precision: str, run: str
) -> tuple[EngineFiles, ...]:
    from engines.backends.serves import devices_of, plain_precision
    from engines.pipeline import engines, prepare

    backend = BACKEND.get(engine, cast("Backend", engine))
    devices = devices_of(backend) if engine in OPENS else ()
    if not devices:
        raise ExportError(f"There is no engine {engine!r}; packages hold {', '.join(OPENS)}.")
    wanted_device = device or ("cpu" if "cpu" in devices else devices[0])
    if wanted_device not in devices:
        raise ExportError(f"{engine} does not serve {wanted_device}; it serves {', '.join(devices)}.")
    if wanted_device not in OPENS.get(engine, ()):
        raise ExportError(
            f"A package cannot open {engine} on {wanted_device}; packages open it on "
            f"{', '.join(OPENS[engine])}."
        )
    known = get_args(Engine.model_fields["precision"].annotation)
    if precision and precision not in known:
        raise ExportError(f"There is no precision {precision}; give one of {', '.join(known)}.")
    wanted = replace(
        _plan(job, before, run),
        device=wanted_device,
        backend=backend,
        precision=cast("Precision", precision or plain_precision(wanted_device)),
        channels_last=False,
    )
    artifacts = prepare(wanted, lambda _done, _total, doing: job.progress(1, STEPS, f"Building {doing}"))
    for asked, artifact in zip(engines(wanted), artifacts, strict=True):
        if (artifact.backend, artifact.precision) != (asked.backend, asked.precision):
            raise ExportError(
                f"The package cannot hold {engine} in {wanted.precision}: {' '.join(artifact.fallbacks)}"
            )
    return tuple(part for artifact in artifacts for part in packed(artifact, [engine]))


def _plan(job: Job, before: Verified, run: str) -> Plan:
    from engines.pipeline import plan
    from engines.techniques import from_step
    from engines.workload import Workload

    facts = before.manifest.additional_metadata
    state = RunState.replay(Journal.read(find_run(job.home, run or facts.evidence.run)))
    chosen = state.candidates.get(facts.evidence.candidate)
    if state.started is None or chosen is None or state.started.model.hash != facts.source_model.hash:
        raise ExportError(
            f"The package was not made from the run {state.run}; name its run with --run, or take the "
            "engines of another package with --from."
        )
    return plan(
        state.started.model.source,
        state.started.target,
        Workload.model_validate(state.started.workload),
        [from_step(step) for step in chosen.proposal.recipe],
    )


def _try(trial: Path, facts: Facts, part: EngineFiles, *, own: bool) -> SelfTest:
    """In an environment of the variant's own wheels; none is made where its device is not here.

    Machine code is tried if it was built just now, not if it came with another's package.
    """
    from engines.backends import backend

    engine, device = part.engine.engine, part.engine.device
    if reason := backend(BACKEND.get(engine, cast("Backend", engine))).absent(device):
        return SelfTest(passed=False, text=f"{part.variant} was built, not verified on device: {reason}.")
    wheels = requirements_of(facts.model_dump(mode="json"), engine, device) or REQUIREMENTS
    return self_test(trial, part.variant, trial / wheels, native=own)


def proved(facts: Facts, part: EngineFiles, test: SelfTest) -> Facts:
    """With a variant's self-test among the verifications."""
    here = target_of(part.engine.engine, part.built_for.engine_version, part.engine.device)
    check = Verification(
        time=datetime.now(UTC).replace(microsecond=0),
        target=here,
        python=platform.python_version(),
        fresh_environment=test.fresh,
        psnr=test.psnr,
        max_abs=test.max_abs,
        seconds=round(test.seconds, 4),
        note=f"{part.variant}, against the golden picture. {test.note}",
        variants=dict(test.variants),
    )
    return facts.model_copy(update={"verified_on": (*facts.verified_on, check)})
