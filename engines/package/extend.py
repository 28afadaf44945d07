"""Put further variants into a package that is there: for another device, or in another precision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engines.errors import PackageError
from engines.package import sums
from engines.package.manifest import Component
from engines.package.place import copy, move, staging
from engines.package.verify import Verified, verify
from engines.package.write import EngineFiles, finish, variant_of, write_program


def parts_of(package: Path) -> tuple[EngineFiles, ...]:
    """Every variant of a package's folder, in the order in which its runner tries them.

    Raises:
        PackageError: the package is not as it was made, or is no folder.
    """
    if not package.is_dir():
        raise PackageError(f"{package} is no folder; unpack the package first.")
    found = []
    for name, component in verify(package).manifest.components.items():
        contract = component.additional_metadata
        for key in contract.order:
            variant = component.variants[key]
            facts = variant.additional_metadata
            place = package / variant.variant_directory
            found.append(
                EngineFiles(
                    component=name,
                    engine=variant.executor_info.studio,
                    files={file.path: place / file.path for file in facts.files},
                    inputs=contract.inputs,
                    outputs=contract.outputs,
                    built_for=facts.built_for,
                    parity=facts.parity,
                    fallbacks=facts.fallbacks,
                    excluded_layers=facts.excluded_layers,
                    format=facts.format,
                    build_options=facts.build_options,
                    compatibility=variant.compatibility_string,
                )
            )
    return tuple(found)


def extend(package: Path, parts: Sequence[EngineFiles], *, first: bool = False) -> Verified:
    """Add variants to a package's folder; its id changes, and no older signature fits it.

    Args:
        parts: each of a component that the package has, with the same inputs and outputs.
        first: tried before those that are there.

    Raises:
        PackageError: a variant is there already or does not fit, or the package cannot be written.
    """
    if not package.is_dir():
        raise PackageError(f"{package} is no folder; unpack the package first.")
    verified = verify(package)
    size = sum(path.stat().st_size for part in parts for path in part.files.values())
    with staging(package, verified.bytes + size) as partial:
        for name in sums.walk(package):
            if name not in (sums.MANIFEST, sums.SUMS, sums.SIGNATURE):
                copy(package / name, partial / name)
        components = dict(verified.manifest.components)
        for part in parts:
            components[part.component] = _with(components, part, partial, first=first)
        engines = {
            one.executor_info.studio.engine for body in components.values() for one in body.variants.values()
        }
        write_program(partial, sorted(engines))
        finish(verified.manifest.model_copy(update={"components": components}), partial)
        extended = verify(partial)
        move(partial, package)
    return extended


def _with(components: dict[str, Component], part: EngineFiles, partial: Path, *, first: bool) -> Component:
    there = components.get(part.component)
    if there is None:
        raise PackageError(f"The package has no component {part.component}; add variants of what it has.")
    contract = there.additional_metadata
    if part.variant in there.variants:
        raise PackageError(f"The package has {part.variant} of {part.component} already.")
    if (part.inputs, part.outputs) != (contract.inputs, contract.outputs):
        raise PackageError(
            f"{part.variant} of {part.component} has other inputs or outputs than the package's own; "
            "it is of another model."
        )
    order = (part.variant, *contract.order) if first else (*contract.order, part.variant)
    variants = dict(there.variants) | {part.variant: variant_of(part, partial)}
    return there.model_copy(
        update={"variants": variants, "additional_metadata": contract.model_copy(update={"order": order})}
    )
