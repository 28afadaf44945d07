"""A Hugging Face hub repository: the package, pictures, and a model card that says how each number was found.

README.md            the model card: metadata that the hub reads, then what a person wants to know
package/             the package as it is, which checks itself: nothing of the hub's lies inside it
pictures/            the candidate's and the unchanged model's, of the same prompts and seeds
.gitattributes       which files git keeps as large ones
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, ClassVar, Final

from engines.errors import PackageError
from engines.layouts.base import Drawn, Layout, Pixels, Subject, register
from engines.layouts.script import run_quietly
from engines.models.attached import ATTACH
from engines.models.hub import HUB_ID
from engines.models.load import WITH
from engines.package.evidence import Interval
from engines.package.manifest import Facts, SourceModel
from engines.package.runner import read_picture, write_picture
from engines.students import KINDS

if TYPE_CHECKING:
    from engines.package.evidence import Verification

SHOWN: Final = 4
LARGE: Final = ("*.bin", "*.onnx", "*.data", "*.safetensors", "*.png", "*.npz")
TEMPLATE: Final = Path(__file__).with_name("model_card.md.jinja")
LICENCES: Final = {
    name.lower(): name.lower()
    for name in (
        "Apache-2.0", "MIT", "CC0-1.0", "CC-BY-4.0", "CC-BY-SA-4.0", "CC-BY-NC-4.0", "OpenRAIL", "OpenRAIL++",
        "CreativeML-OpenRAIL-M", "BigScience-OpenRAIL-M", "BSD-3-Clause", "GPL-3.0", "AGPL-3.0", "Unlicense",
    )
}  # fmt: skip
"""Licences that the hub knows by name; any other is `other` with its name beside it."""


@register
class Hub(Layout):
    name = "hub"
    title = "Hugging Face hub"
    summary = "A model repository for the hub: the package, pictures and a generated model card."
    usage = """\
    hf upload YOU/{name} THIS_FOLDER"""
    modules: ClassVar = ("huggingface_hub", "jinja2")
    takes_engines = False
    takes_package = True

    def write(self, subject: Subject, folder: Path) -> None:
        assert subject.package is not None
        shutil.copytree(subject.package, folder / "package")
        shown = _pictures(subject, folder / "pictures")
        lines = [f"{pattern} filter=lfs diff=lfs merge=lfs -text" for pattern in LARGE]
        (folder / ".gitattributes").write_text("\n".join([*lines, ""]), encoding="utf-8")
        (folder / "README.md").write_text(card(subject, shown), encoding="utf-8")

    def draw(self, folder: Path, prompt: str, seed: int) -> Drawn | None:
        return draw_by_package(folder / "package", prompt, seed)


def draw_by_package(package: Path, prompt: str, seed: int, python: Sequence[str] = ()) -> Drawn:
    """The picture that a package inside a layout makes by its own `run.py`."""
    import sys
    import tempfile

    with tempfile.TemporaryDirectory(prefix="pareto-layout-") as name:
        out = Path(name) / "picture.png"
        start = list(python) or [sys.executable, "-P"]
        run_quietly(
            [*start, str(package / "run.py"), "--prompt", prompt, "--seed", str(seed), "--out", str(out)],
            Path(name),
        )
        if not out.is_file():
            raise PackageError("The package made no picture; report this.")
        return Drawn(read_picture(out), "the package's own runner")


def _pictures(subject: Subject, folder: Path) -> list[dict[str, Any]]:
    """Write them; rows of the card's table."""
    folder.mkdir()
    gallery = list(subject.gallery) or [(subject.prompt, subject.seed, subject.picture)]
    rows: list[dict[str, Any]] = []
    for at, (prompt, seed, picture) in enumerate(gallery[:SHOWN], 1):
        row: dict[str, Any] = {"prompt": prompt, "seed": seed, "own": f"pictures/{at}.png"}
        _write(picture, folder / f"{at}.png")
        before = subject.reference.get((prompt, seed))
        if before is not None:
            row["before"] = f"pictures/{at}-unchanged.png"
            _write(before, folder / f"{at}-unchanged.png")
        rows.append(row)
    return rows


def _write(picture: Pixels, path: Path) -> None:
    write_picture(picture, path)


def card(subject: Subject, shown: Sequence[dict[str, Any]]) -> str:
    """The text of the model card."""
    import jinja2

    environment = jinja2.Environment(  # noqa: S701 - Markdown, not HTML
        undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters.update(interval=_interval, seconds=_seconds, cell=_cell)
    facts = subject.facts
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8")).render(
        metadata=_metadata(subject, facts),
        subject=subject,
        facts=facts,
        latency=facts.evidence.latency,
        quality=facts.evidence.quality,
        losses={} if facts.evidence.quality is None else facts.evidence.quality.metrics,
        shown=shown,
        verified=[_verified(one) for one in facts.verified_on],
        added={PurePosixPath(path).name: one for path, one in facts.source_model.added_licences.items()},
        unsaid=_unsaid(facts.source_model),
    )


def _metadata(subject: Subject, facts: Facts) -> str:
    """The card's YAML head, by the hub's own library."""
    from huggingface_hub import EvalResult, ModelCardData

    licence = _licence(facts.source_model)
    known = LICENCES.get(licence.lower())
    named: dict[str, Any] = {"license": known or "other"}
    if known is None:
        named |= {"license_name": licence, "license_link": "package/LICENSE"}
    if bases := base_models(facts.source_model.source):
        named["base_model"] = bases if len(bases) > 1 else bases[0]
    results = []
    quality = facts.evidence.quality
    if quality is not None and quality.prompts:
        results = [
            EvalResult(
                task_type=facts.task,
                dataset_type="pareto-studio-gate",
                dataset_name=f"{quality.prompts} prompts of the run's gate",
                metric_type=name,
                metric_value=round(found.value, 5),
            )
            for name, found in sorted(quality.metrics.items())
        ]
    data = ModelCardData(
        pipeline_tag=facts.task,
        library_name=facts.built_for.engine,
        tags=["pareto-studio", facts.built_for.engine, facts.built_for.device],
        model_name=subject.title and f"{facts.source_model.name}, {subject.title}",
        eval_results=results or None,
        **named,
    )
    return str(data.to_yaml()).strip()


def base_models(source: str) -> list[str]:
    """The hub's repositories that a model and what was added to it came from."""
    found = []
    for part in source.split(WITH):
        value = part
        for option in ATTACH:
            value = value.removeprefix(f"{option}=")
        head, sign, kind = value.rpartition(":")
        value = head if sign and kind in KINDS else value
        if HUB_ID.fullmatch(value) and not value.endswith(".safetensors"):
            found.append(value)
    return list(dict.fromkeys(found))


def _licence(source: SourceModel) -> str:
    """The model's, and those of what was added to it where they are others."""
    named = [source.licence or "unknown", *source.added_licences.values()]
    by_name = {name.lower(): name for name in reversed(named)}
    return " and ".join(reversed(by_name.values()))


def _unsaid(source: SourceModel) -> list[str]:
    """Names of added weights whose licence nobody stated."""
    return [
        PurePosixPath(file.path).name
        for file in source.added
        if file.path.endswith(".safetensors") and file.path not in source.added_licences
    ]


def _interval(found: Interval) -> str:
    return f"{found.value:.3g} ({found.low:.3g} to {found.high:.3g})"


def _seconds(found: Interval) -> str:
    if found.value < 1:
        return f"{1000 * found.value:.3g} ms ({1000 * found.low:.3g} to {1000 * found.high:.3g})"
    return f"{found.value:.3g} s ({found.low:.3g} to {found.high:.3g})"


def _cell(text: str) -> str:
    """Words inside a Markdown table."""
    return " ".join(text.replace("|", "\\|").split())


def _verified(check: Verification) -> str:
    where = check.target.processor or check.target.machine
    how = "in a fresh environment" if check.fresh_environment else "with borrowed wheels"
    return (
        f"{check.time:%Y-%m-%d} on {where}, {check.target.system}, Python {check.python},"
        f" {check.target.engine} {check.target.engine_version}, {how}: {check.psnr:.0f} dB against the"
        " picture that the candidate's script drew (100: equal)"
    )
