"""Captures: one `torch.export` program per component and structure, kept by content.

The key is the model's hash and the structure; the program is exported when it
is first asked for, written under a temporary name and renamed, under a lock.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from engines.capture.structure import STAGES, Structure, TensorSpec, interface
from engines.errors import CaptureError
from engines.paths import cache_folder, digest, locked

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

    from engines.models.model import Model

Arrays = dict[str, NDArray[Any]]
FORMAT: Final = 1
"""Raise it when a component's module changes what it computes."""
SMALL: Final = 100_000_000
"""Parameters below which a module's reference is computed by one thread."""
LARGE: Final = 400_000_000
"""Parameters from which on a module is not kept beside the engine that is made of it."""


class Capture:
    """A component of a model in one structure; cheap until `module` or `program` is asked for."""

    def __init__(self, model: Model, structure: Structure) -> None:
        self.model = model
        self.structure = structure
        self.inputs, self.outputs = interface(model, structure)

    @property
    def component(self) -> str:
        return self.structure.component

    @cached_property
    def key(self) -> str:
        return digest(FORMAT, self.model.hash, self.structure.facts())

    @property
    def path(self) -> Path:
        """Where the program is or will be."""
        return cache_folder("captures") / f"{self.key}.pt2"

    @cached_property
    def module(self) -> torch.nn.Module:
        """The eager module, fp32."""
        from engines.capture.components import module

        return module(self.model, self.structure)

    def example(self, batch: int = 2, seed: int = 0) -> Arrays:
        """Plausible inputs, the same for the same seed; a cached feature is a real one."""
        rng = np.random.default_rng(seed)
        return {spec.name: self._draw(spec, batch, rng, seed) for spec in self.inputs}

    def _draw(self, spec: TensorSpec, batch: int, rng: np.random.Generator, seed: int) -> NDArray[Any]:
        shape = (batch, *spec.shape)
        if spec.values:
            always = np.array(spec.values, dtype=spec.dtype).reshape(spec.shape)
            return np.broadcast_to(always, shape).copy()
        if spec.name == "timestep":
            steps = int(self.model.scheduler_config.get("num_train_timesteps", 1000))
            return rng.uniform(0, steps - 1, shape).round().astype(np.float32)
        if "mask" in spec.name:
            said = rng.integers(2, spec.shape[0] + 1, (batch, 1))
            return (np.arange(spec.shape[0])[None] < said).astype(spec.dtype)
        if spec.dtype == "int64":
            kind, part = self.model.text_kind(self.component), self.model.layout.parts[self.component]
            return rng.integers(0, kind.vocabulary(part.config), shape, dtype=np.int64)
        if spec.name == "guidance":
            return rng.uniform(1, 9, shape).astype(np.float32)
        if maker := self._maker(spec.name):
            made_by = Capture(self.model, Structure(maker, self.structure.latent, self.structure.denoiser))
            return made_by.reference(made_by.example(batch, seed))[spec.name]
        return rng.standard_normal(shape).astype(np.float32)

    def _maker(self, name: str) -> str:
        """The part of the denoiser that makes an input of this one; empty where none does."""
        if name == "attention":
            return "denoiser_full"
        if name == "feature":
            return "denoiser_rest" if self.component in STAGES else "denoiser_full"
        return "denoiser_first" if name in ("state", "skips") else ""

    def reference(self, inputs: Arrays) -> Arrays:
        """What eager fp32 answers."""
        import torch

        tensors = [torch.from_numpy(np.ascontiguousarray(inputs[spec.name])) for spec in self.inputs]
        with torch.inference_mode(), _unhurried(self.module):
            found = self.module(*tensors)
        values = found if isinstance(found, tuple) else (found,)
        return {spec.name: value.numpy() for spec, value in zip(self.outputs, values, strict=True)}

    @cached_property
    def program(self) -> ExportedProgram:
        """The captured program, batch dynamic, from the cache or exported now.

        Raises:
            CaptureError: torch.export refuses the component.
        """
        import torch

        with locked(self.path):
            if self.path.is_file():
                try:
                    return torch.export.load(self.path)
                except Exception:  # noqa: BLE001 - whatever is wrong with it, a fresh export replaces it
                    self.path.unlink()
            program = self._export()
            handle, name = tempfile.mkstemp(dir=self.path.parent, suffix=".pt2", prefix=".new-")
            os.close(handle)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    torch.export.save(program, name)
                Path(name).replace(self.path)
            finally:
                Path(name).unlink(missing_ok=True)
            return program

    def release(self) -> None:
        """Let go of the module and the program of a large component; they come again when asked for."""
        module = self.__dict__.get("module")
        if module is None or sum(one.numel() for one in module.parameters()) >= LARGE:
            self.__dict__.pop("module", None)
            self.__dict__.pop("program", None)

    def _export(self) -> ExportedProgram:
        import torch

        example = tuple(torch.from_numpy(self.example()[spec.name]) for spec in self.inputs)
        # one entry for the one parameter `*inputs`, which takes them all
        shapes = (tuple({0: torch.export.Dim.DYNAMIC} for _ in self.inputs),)
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                program = torch.export.export(self.module, example, dynamic_shapes=shapes, strict=False)
                return _with_clear_memory(program)
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            raise CaptureError(
                f"torch.export cannot capture {self.component} of {self.model.name}: {first[:300]}"
            ) from error


def _with_clear_memory(program: ExportedProgram) -> ExportedProgram:
    """Memory that is written to before it is read begins as zeros: engines know no unset memory."""
    import torch

    changed = False
    for node in program.graph.nodes:
        if node.target is torch.ops.aten.empty_like.default:
            node.target = torch.ops.aten.zeros_like.default
            changed = True
    if changed:
        program.graph_module.recompile()
    return program


@contextmanager
def _unhurried(module: torch.nn.Module) -> Iterator[None]:
    """One thread for small modules: beside other work, waiting threads take 50 times as long."""
    import torch

    before = torch.get_num_threads()
    if sum(parameter.numel() for parameter in module.parameters()) < SMALL:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def capture(model: Model, structure: Structure) -> Capture:
    """The capture of a component; exporting waits until its `program` is used."""
    return Capture(model, structure)
