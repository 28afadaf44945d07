"""The engine files of a component that torch runs: as it is, compiled when first called, or ahead of time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from importlib import metadata
from typing import TYPE_CHECKING, Final

from engines.errors import BuildError
from engines.package import fits
from engines.package.components import OPENS
from engines.package.evidence import Parity, Target
from engines.package.manifest import Engine, Format, Tensor
from engines.package.torch_graph import FORMAT, GRAPH
from engines.package.wheels import TORCHAO
from engines.package.write import EngineFiles
from studio.errors import ExportError

if TYPE_CHECKING:
    from engines.backends.base import Artifact
    from engines.backends.torch_program import Program
    from engines.plan import Backend

BACKEND: Final[dict[str, Backend]] = {"eager": "torch", "compile": "torch", "aoti": "compile"}
"""What is built for each of a package's torch engines."""


LOST: Final = {
    "attention": "in a package torch picks the attention kernel itself.",
    "tf32": "in a package products are computed in torch's own fp32.",
    "offload": "in a package all weights stay on the device.",
}
"""What eager torch was told beside (`engines.plan.TorchWays`), and what becomes of it."""


def kinds(backend: str, device: str) -> tuple[str, ...]:
    """The engines under which a package holds what torch ran here, the one that was measured first.

    What AOTInductor compiled is machine code for one kind of processor: where it may not or cannot be
    loaded, the same program is compiled there, and where there is no compiler it runs as it is.
    """
    if backend == "torch":
        return ("eager",)
    return ("aoti", "compile", "eager") if device == "cpu" else ("compile", "eager")


def parts(
    artifact: Artifact,
    engines: Sequence[str],
    target: Target,
    inputs: Sequence[Tensor],
    outputs: Sequence[Tensor],
) -> tuple[EngineFiles, ...]:
    """The files of a component for each of these engines.

    Raises:
        ExportError: a package cannot hold it, and why.
        CaptureError: torch.export refuses it.
    """
    component, where = artifact.capture.component, artifact.device
    if artifact.metadata.get("options", {}).get("cast"):
        raise ExportError(
            f"The weights of the {component} are kept in 8 bits by a running torch, and a package's graph"
            " holds them as they are; choose a candidate without layerwise-casting."
        )
    found = []
    for engine in engines:
        if where not in OPENS[engine]:
            raise ExportError(f"A package cannot open {engine} on {where}; choose another device.")
        part = EngineFiles(
            component=component,
            engine=Engine.model_validate(
                {"engine": engine, "model_file": GRAPH, "precision": artifact.precision, "device": where}
            ),
            files={},
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            built_for=target.model_copy(update={"engine": engine, "device": where}),
            fallbacks=artifact.fallbacks,
        )
        found.append(_native(artifact, part) if engine == "aoti" else _program(artifact, part))
    return tuple(found)


def _program(artifact: Artifact, part: EngineFiles) -> EngineFiles:
    from engines.backends.torch_program import program

    try:
        made: Program = program(artifact.capture, artifact.precision, artifact.device)
    except BuildError as error:
        raise ExportError(
            f"A package cannot hold the {part.component} on torch ({error}); choose a candidate on"
            " another engine."
        ) from error
    options = {"channels_last": "true"} if artifact.channels_last else {}
    return replace(
        part,
        engine=part.engine.model_copy(update={"options": options}),
        files=made.files,
        format=Format(name="ATen graph", version=str(FORMAT)),
        build_options={TORCHAO: made.torchao} if made.torchao else {},
        # what a compiler makes of the program is seen in the picture of the proof
        parity=Parity(max_abs=made.parity["max_abs"], psnr=made.parity["psnr"], passed=True)
        if part.engine.engine == "eager"
        else None,
        fallbacks=(*part.fallbacks, *_lost(artifact)),
    )


def _lost(artifact: Artifact) -> list[str]:
    """What a module does on a card that its program does not."""
    component, found = artifact.capture.component, []
    if artifact.metadata.get("graphs"):
        found.append(f"{component}: its launches are not recorded in CUDA graphs in a package.")
    if artifact.device == "cuda" and artifact.capture.structure.denoiser.sparse:
        found.append(f"{component}: products with 2:4 weights do not skip the zeros in a package.")
    lost = (text for name, text in LOST.items() if artifact.metadata.get("options", {}).get(name))
    found += [f"{component}: {text}" for text in lost]
    return found


def _native(artifact: Artifact, part: EngineFiles) -> EngineFiles:
    files = {path.relative_to(artifact.folder).as_posix(): path for path in artifact.files}
    if artifact.backend != "compile" or len(files) != 1:
        raise ExportError(
            f"The {part.component} was not compiled ahead of time ({' '.join(artifact.fallbacks)}); build it "
            "for compile or eager."
        )
    names = {
        "inputs": " ".join(one.name for one in part.inputs),
        "outputs": " ".join(one.name for one in part.outputs),
    }
    measured = artifact.metadata["parity"]
    return replace(
        part,
        engine=part.engine.model_copy(update={"model_file": next(iter(files)), "options": names}),
        files=files,
        format=Format(name="AOTInductor", version=metadata.version("torch")),
        build_options={"layout_optimization": "true"} if artifact.channels_last else {},
        parity=Parity(max_abs=float(measured["max_abs"]), psnr=float(measured["psnr"]), passed=True),
        compatibility=fits.compatibility(),
    )
