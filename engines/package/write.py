"""Write a package: a folder and its archive.

Everything is written under a temporary name, verified, then renamed; what was
there before stays until the new package has proved itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import zipfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal

from engines.errors import PackageError
from engines.package import sums
from engines.package.archive import SUFFIX
from engines.package.bill import NAME as BILL
from engines.package.bill import bill_of_materials
from engines.package.evidence import Parity, Target
from engines.package.likeness import Pixels, sheet
from engines.package.manifest import (
    SCHEMA_VERSION,
    Batch,
    Component,
    ComponentContract,
    Engine,
    ExecutorInfo,
    Facts,
    File,
    Format,
    Manifest,
    OrtInfo,
    Tensor,
    Variant,
    VariantFacts,
)
from engines.package.native import native_files
from engines.package.place import check_place, copy, move, sentences, staging
from engines.package.runtimes import REQUIREMENTS, requirements_file, runtime
from engines.package.verify import Verified, verify
from engines.package.wheels import further, own, requirements

OnProgress = Callable[[float, str], None]
"""Called with the share done, 0 to 1, and what is being done."""

GOLDEN: Final = "golden.png"
TOKENIZER: Final = "tokenizer"
"""What the host loop calls the first text encoder's."""
_ASSETS: Final = "shared_assets"
_ROOT: Final = Path(__file__).resolve().parents[1]
_TRAVELLERS: Final = (
    "__init__", "sums", "seal", "likeness", "native", "signature", "processors", "runtimes", "components",
    "windows_ml", "tensorrt_plan", "torch_files", "torch_graph", "fits", "variants", "sound", "benchmark",
    "runner", "lines", "cascade", "serving/*",
)  # fmt: skip
"""Modules of this folder that travel inside every package, as they are."""
_PROVIDERS: Final = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "directml": "DmlExecutionProvider",
}
_KINDS: Final[Mapping[str, Literal["cpu", "gpu", "npu"]]] = {
    "cpu": "cpu",
    "intel-npu": "npu",
    "coreml": "npu",
}
"""What ONNX Runtime's format calls a device; the others are GPUs."""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)

PYTHON: Final = ">=3.11,<3.14"
"""Versions that packages are tested under; `run.py` refuses others."""

_RUN: Final = '''"""Makes pictures from prompts with this package: `python run.py --help`."""

import sys
from pathlib import Path

if not (3, 11) <= sys.version_info[:2] < (3, 14):
    sys.exit("This package needs Python 3.11, 3.12 or 3.13, and this is " + sys.version.split()[0] + ".")
FOLDER = Path(__file__).resolve().parent
if any(FOLDER.rglob("__pycache__")):
    sys.exit("There are compiled files in this package that are not its own; remove its __pycache__ folders.")
sys.dont_write_bytecode = True
sys.path.insert(0, str(FOLDER))

from engines.package.runner import main  # noqa: E402
{imports}
sys.exit(main(FOLDER{arguments}))
'''


_CLUSTER: Final = '''"""Serves this package on a Ray cluster: `python ray_app.py --help`; needs `ray[serve]`.

On the command line of Ray itself: `PYTHONDONTWRITEBYTECODE=1 serve run ray_app:app`.
"""

import sys
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
sys.dont_write_bytecode = True
sys.path.insert(0, str(FOLDER))

from engines.package.serving.cluster import main, packaged  # noqa: E402

PLANNER = "{planner}"

if __name__ == "__main__":
    sys.exit(main(FOLDER, PLANNER))

app = packaged(FOLDER, PLANNER)
'''


def cluster_program(planner: str = "") -> str:
    """The text of `ray_app.py`; `planner` as for `program`."""
    return _CLUSTER.format(planner=f"{planner}:make_planner" if planner else "")


def program(planner: str = "") -> str:
    """The text of `run.py`; `planner` names a module whose `make_planner` plans while it serves."""
    imports = f"from {planner} import make_planner  # noqa: E402\n" if planner else ""
    return _RUN.format(imports=imports, arguments=", make_planner=make_planner" if planner else "")


@dataclass(frozen=True, slots=True)
class EngineFiles:
    """One built variant of one component."""

    component: str
    engine: Engine
    files: Mapping[str, Path]
    """Name inside the variant's folder -> where it lies now."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    built_for: Target
    parity: Parity | None = None
    fallbacks: tuple[str, ...] = ()
    excluded_layers: tuple[str, ...] = ()
    format: Format | None = None
    build_options: Mapping[str, str] = field(default_factory=dict)
    compatibility: str | None = None
    """Of machine code: what it was compiled for (`engines.package.fits`)."""

    @property
    def variant(self) -> str:
        return f"{self.engine.engine}-{self.built_for.device}-{self.engine.precision}"


@dataclass(frozen=True, eq=False)
class Contents:
    """All that a package is made of."""

    name: str
    description: str
    engines: tuple[EngineFiles, ...]
    tokenizer: Path | None
    """Of the first text encoder; `None` where there is none."""
    facts: Callable[[str], Facts]
    """The facts, given the package-relative path of the tokenizer (empty where there is none)."""
    golden: Pixels
    readme: str
    licence: str
    tokenizers: Mapping[str, Path] = field(default_factory=dict)
    """Those of further text encoders, by the names that the host loop gives them."""
    light_tokenizers: Mapping[str, Path] | None = None
    """All of a cascade's light model, by these names; `None`: the same as above."""
    more: Mapping[str, bytes] = field(default_factory=dict)
    """Further files, by their path in the package; one that is there already is replaced."""


def write(
    contents: Contents, folder: Path, *, replace: bool = False, on_progress: OnProgress | None = None
) -> Verified:
    """Write the package folder.

    Args:
        folder: where the package shall lie; must not exist, unless `replace` is set and a package lies there.

    Raises:
        PackageError: it cannot be written there; what was there is as it was.
    """
    tell = on_progress or (lambda _share, _doing: None)
    check_place(folder, replace=replace)
    words = [*contents.tokenizers.values(), *([contents.tokenizer] if contents.tokenizer else [])]
    words += (contents.light_tokenizers or {}).values()
    sources = [*words, *(path for part in contents.engines for path in part.files.values())]
    if gone := [path for path in sources if not path.is_file()]:
        raise PackageError(
            f"The file {gone[0]}, which the package needs, is gone; export again to rebuild it."
        )
    size = sum(path.stat().st_size for path in sources)
    with staging(folder, size) as partial:
        tell(0.0, "Copying engines")
        manifest = _fill(contents, partial, tell)
        tell(0.8, "Taking digests")
        finish(manifest, partial)
        tell(0.9, "Verifying")
        verified = verify(partial)
        move(partial, folder)
    tell(1.0, "Written")
    return verified


def amend(folder: Path, change: Callable[[Facts], Facts]) -> Verified:
    """Change a package's facts, for example to add a verification; the id changes, and no signature fits it.

    Raises:
        PackageError: the package is not as it was made, or cannot be written.
    """
    verified = verify(folder)
    facts = change(verified.manifest.additional_metadata)
    manifest = verified.manifest.model_copy(update={"additional_metadata": facts})
    with staging(folder, verified.bytes) as partial:
        for name in sums.walk(folder):
            if name not in (sums.MANIFEST, sums.SUMS, sums.SIGNATURE):
                copy(folder / name, partial / name)
        finish(manifest, partial)
        amended = verify(partial)
        move(partial, folder)
    return amended


def finish(manifest: Manifest, partial: Path) -> None:
    """Write the manifest and what is made from it, the sums last."""
    facts = manifest.additional_metadata
    before, now = facts.wheels, own(manifest)
    facts = facts.model_copy(update={"sbom": BILL, "wheels": now, "more_wheels": further(manifest)})
    if now != before:
        first = runtime(facts.built_for.engine, facts.built_for.device)
        (partial / REQUIREMENTS).write_text(requirements(first, now), encoding="utf-8")
    for name, wheels in facts.more_wheels.items():
        (partial / requirements_file(name)).write_text(requirements(name, wheels), encoding="utf-8")
    complete = manifest.model_copy(update={"additional_metadata": facts, "schema_version": SCHEMA_VERSION})
    (partial / BILL).write_bytes(bill_of_materials(complete))
    (partial / sums.MANIFEST).write_bytes(complete.to_json().encode())
    sums.write(partial)


def pack(folder: Path, target: Path | None = None) -> Path:
    """Write the package's archive and return its path; the same package gives the same bytes.

    Args:
        target: empty: NAME.pareto beside the folder.

    Raises:
        PackageError: it cannot be written.
    """
    target = target or folder.with_name(f"{folder.name}{SUFFIX}")
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with sentences(target.parent, 0), zipfile.ZipFile(partial, "w") as archive:
            for name in sums.walk(folder):
                entry = archive_entry(f"{folder.name}/{name}")
                with (folder / name).open("rb") as source, archive.open(entry, "w", force_zip64=True) as sink:
                    shutil.copyfileobj(source, sink, 1 << 20)
        verify(partial)
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)
    return target


def archive_entry(name: str) -> zipfile.ZipInfo:
    """A file of a package's archive, without the time and the machine that made it."""
    entry = zipfile.ZipInfo(name, _EPOCH)
    entry.external_attr = (stat.S_IFREG | 0o644) << 16
    entry.compress_type = zipfile.ZIP_DEFLATED
    return entry


def _fill(contents: Contents, partial: Path, tell: OnProgress) -> Manifest:
    components: dict[str, dict[str, Any]] = {}
    for at, part in enumerate(contents.engines):
        tell(0.7 * at / len(contents.engines), f"Copying {part.component}")
        variant = variant_of(part, partial)
        body = components.setdefault(part.component, {"variants": {}, "part": part})
        if part.variant in body["variants"]:
            raise PackageError(f"{part.component} was given twice as {part.variant}; give each variant once.")
        body["variants"][part.variant] = variant
    words = {TOKENIZER: contents.tokenizer} if contents.tokenizer else {}
    places = _tokenizers(words | dict(contents.tokenizers), partial)
    facts = contents.facts(places.get(TOKENIZER, ""))
    facts = facts.model_copy(update=_with(places))
    if facts.cascade is not None:
        own = contents.light_tokenizers
        light = facts.cascade.light.model_copy(
            update=_with(places if own is None else _tokenizers(own, partial))
        )
        facts = facts.model_copy(update={"cascade": facts.cascade.model_copy(update={"light": light})})
    facts = facts.model_copy(update={"prompt_cache_key": _prompt_key(components, facts)})
    manifest = Manifest(
        package_name=contents.name,
        description=contents.description,
        components={
            name: Component(
                component_name=name,
                variants=body["variants"],
                additional_metadata=ComponentContract(
                    inputs=body["part"].inputs,
                    outputs=body["part"].outputs,
                    order=tuple(body["variants"]),
                    batch=Batch(best=min(2, facts.output.max_batch), largest=facts.output.max_batch),
                ),
            )
            for name, body in components.items()
        },
        additional_metadata=facts,
    )
    _write_runner(contents, manifest.additional_metadata, partial)
    return manifest


def _tokenizers(words: Mapping[str, Path], partial: Path) -> dict[str, str]:
    """Copy tokenizers into a package that is being written: name -> path in the package."""
    return {
        name: f"{_asset({'tokenizer.json': path}, partial)[0]}/tokenizer.json" for name, path in words.items()
    }


def _with(tokenizers: Mapping[str, str]) -> dict[str, Any]:
    """The fields of a model's facts that name its tokenizers."""
    further = {name: path for name, path in tokenizers.items() if name != TOKENIZER}
    return {"tokenizer": tokenizers.get(TOKENIZER), "tokenizers": further}


def _prompt_key(components: Mapping[str, Mapping[str, Any]], facts: Facts) -> str:
    """Content of tokenizers and preferred text encoders: what decides a prompt's embeddings."""
    encoders = {
        name: next(iter(body["variants"].values())).variant_directory
        for name, body in components.items()
        if name.startswith("text_encoder")
    }
    words = {"tokenizer": facts.tokenizer} | facts.tokenizers
    text = json.dumps({**encoders, **words}, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest() if encoders else ""


def variant_of(part: EngineFiles, partial: Path) -> Variant:
    """Copy a variant's files into a package that is being written, and describe them."""
    directory, files = _asset(part.files, partial)
    made = VariantFacts(
        files=files,
        built_for=part.built_for,
        format=part.format,
        build_options=dict(part.build_options),
        native_code=native_files(part.engine.engine, part.engine.model_file, part.files, _opener(part.files)),
        parity=part.parity,
        fallbacks=part.fallbacks,
        excluded_layers=part.excluded_layers,
    )
    ort = part.engine.engine == "onnxruntime"
    info = {"pareto-studio": part.engine} | (
        {"ort": OrtInfo(model_file=part.engine.model_file)} if ort else {}
    )
    return Variant(
        variant_directory=directory,
        ep=_PROVIDERS.get(part.engine.device) if ort else None,
        device=_KINDS.get(part.engine.device, "gpu"),
        compatibility_string=part.compatibility,
        executor_info=ExecutorInfo.model_validate(info),
        additional_metadata=made,
    )


def _opener(files: Mapping[str, Path]) -> Callable[[str], IO[bytes]]:
    return lambda name: files[name].open("rb")


def _asset(files: Mapping[str, Path], partial: Path) -> tuple[str, tuple[File, ...]]:
    """Copy files into their content-addressed folder; equal contents share one."""
    digests = {sums.safe(name): sums.digest_file(path) for name, path in files.items()}
    directory = f"{_ASSETS}/sha256-{sums.directory_hash(digests)}"
    for name, path in files.items():
        if not (partial / directory / name).exists():
            copy(path, partial / directory / name)
    described = [
        File(path=name, sha256=digests[name], bytes=path.stat().st_size) for name, path in files.items()
    ]
    return directory, tuple(sorted(described, key=lambda file: file.path))


def write_program(partial: Path, engines: Sequence[str]) -> None:
    """Copy the host loop and the runner, as they are, with what these engines need of it."""
    sources = [_ROOT / "__init__.py", _ROOT / "errors.py", *sorted((_ROOT / "hostloop").glob("*.py"))]
    for name in _TRAVELLERS:
        sources += sorted((_ROOT / "package").glob(f"{name}.py"))
    if "mlx" in engines:
        graph = _ROOT / "backends" / "mlx_graph"
        needs_torch = {graph / "lower.py", graph / "save.py"}
        sources += [_ROOT / "plan.py", _ROOT / "students.py", _ROOT / "backends" / "__init__.py"]
        sources += sorted(set(graph.glob("*.py")) - needs_torch)
    for source in sources:
        copy(source, partial / "engines" / source.relative_to(_ROOT))


def _write_runner(contents: Contents, facts: Facts, partial: Path) -> None:
    write_program(partial, [part.engine.engine for part in contents.engines])
    texts = {
        "run.py": program(),
        "ray_app.py": cluster_program(),
        REQUIREMENTS: requirements(runtime(facts.built_for.engine, facts.built_for.device), facts.wheels),
        "README.md": contents.readme,
        "LICENSE": contents.licence,
    }
    for name, content in {**{name: text.encode() for name, text in texts.items()}, **contents.more}.items():
        target = partial / sums.safe(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    from PIL import Image

    Image.fromarray(sheet(contents.golden)).save(partial / GOLDEN, format="PNG")
