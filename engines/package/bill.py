"""The software bill of materials of a package, CycloneDX 1.6 as JSON.

What the package is made of and runs on: the model and its licence, the engine
files, the program, and every wheel of `requirements.txt`, each with a digest or
a version that a scanner of vulnerabilities and licences can look up.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import NAMESPACE_URL, uuid5

from engines.package.manifest import Component, Facts, Manifest, SourceModel, Wheel

NAME: Final = "sbom.cdx.json"


def bill_of_materials(manifest: Manifest) -> bytes:
    """The same manifest gives the same bytes."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component as Part
    from cyclonedx.model.component import ComponentType
    from cyclonedx.output.json import JsonV1Dot6

    facts = manifest.additional_metadata
    package = _package(manifest)
    wheels = {
        (one.name, one.version): one for some in (facts.wheels, *facts.more_wheels.values()) for one in some
    }
    bom = Bom(
        serial_number=uuid5(NAMESPACE_URL, manifest.to_json()),
        components=[_program(facts), *_engines(manifest.components), *map(_wheel, wheels.values())],
    )
    bom.metadata.timestamp = facts.created
    bom.metadata.component = package
    maker = Part(type=ComponentType.APPLICATION, name=facts.tool.name, version=facts.tool.version)
    bom.metadata.tools.components.add(maker)
    model = _model(facts.source_model, "model")
    light = facts.cascade.light.source_model if facts.cascade is not None else facts.source_model
    two = light.hash != facts.source_model.hash
    models = {False: model, True: _model(light, "light-model") if two else model}
    for one in models.values():
        bom.components.add(one)
    bom.register_dependency(package, [one for one in bom.components if one not in models.values()])
    made_of = _made_of(manifest.components)
    for one in bom.components:
        if (path := str(one.bom_ref).removeprefix("engine:")) in made_of:
            bom.register_dependency(one, [models[is_light] for is_light in sorted(made_of[path])])
    text = JsonV1Dot6(bom).output_as_string(indent=2)
    # The library orders sets by their content and gives random references to nothing: what is left is sorted.
    return (json.dumps(json.loads(text), indent=2, sort_keys=True) + "\n").encode()


def _package(manifest: Manifest) -> Any:
    from cyclonedx.model.component import Component as Part
    from cyclonedx.model.component import ComponentType

    return Part(
        type=ComponentType.APPLICATION,
        name=manifest.package_name,
        version=manifest.package_version,
        bom_ref="package",
        description=manifest.description or None,
    )


def _program(facts: Facts) -> Any:
    from cyclonedx.model.component import Component as Part
    from cyclonedx.model.component import ComponentType

    return Part(
        type=ComponentType.APPLICATION,
        name=f"{facts.tool.name} runner",
        version=facts.tool.version,
        licenses=_licences("Apache-2.0"),
        bom_ref="runner",
    )


def _model(source: SourceModel, reference: str) -> Any:
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component as Part
    from cyclonedx.model.component import ComponentType

    parts = [
        Part(
            type=ComponentType.FILE,
            name=file.path,
            bom_ref=f"{reference}:{file.path}",
            hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
        )
        for file in (*source.files, *source.added)
    ]
    return Part(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        name=source.name,
        version=source.revision or source.hash,
        licenses=_licences(source.licence),
        properties=[Property(name="pareto-studio:source", value=source.source)],
        components=parts,
        bom_ref=reference,
    )


def _made_of(components: Mapping[str, Component]) -> dict[str, set[bool]]:
    """For each engine file, whether a cascade's light model is in it, or the other, or both."""
    found: dict[str, set[bool]] = {}
    for name, component in components.items():
        for variant in component.variants.values():
            for file in variant.additional_metadata.files:
                path = f"{variant.variant_directory}/{file.path}"
                found.setdefault(path, set()).add(name.startswith("light."))
    return found


def _engines(components: Mapping[str, Component]) -> Iterable[Any]:
    """Each engine file once, however many components share it."""
    from cyclonedx.model import HashAlgorithm, HashType, Property
    from cyclonedx.model.component import Component as Part
    from cyclonedx.model.component import ComponentType

    found: dict[str, Any] = {}
    for component in components.values():
        for name, variant in component.variants.items():
            for file in variant.additional_metadata.files:
                path = f"{variant.variant_directory}/{file.path}"
                if path in found:
                    continue
                native = file.path in variant.additional_metadata.native_code
                found[path] = Part(
                    type=ComponentType.FILE,
                    name=path,
                    bom_ref=f"engine:{path}",
                    hashes=[HashType(alg=HashAlgorithm.SHA_256, content=file.sha256)],
                    properties=[
                        Property(name="pareto-studio:variant", value=name),
                        Property(name="pareto-studio:machine-code", value="yes" if native else "no"),
                    ],
                )
    return found.values()


def _wheel(wheel: Wheel) -> Any:
    from cyclonedx.model.component import Component as Part
    from cyclonedx.model.component import ComponentType
    from packageurl import PackageURL

    return Part(
        type=ComponentType.LIBRARY,
        name=wheel.name,
        version=wheel.version,
        purl=PackageURL("pypi", None, wheel.name, wheel.version),
        licenses=_licences(wheel.licence),
        bom_ref=f"wheel:{wheel.name}=={wheel.version}",
    )


def _licences(text: str) -> list[Any]:
    """By SPDX where the text is of it, else as it was said."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [LicenseFactory().make_from_string(text)] if text else []
