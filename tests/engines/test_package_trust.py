"""Who made a package is known by a key or a certificate, and machine code waits for that."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from engines.errors import NoVariant, PackageError, SignatureRefused
from engines.package import sums
from engines.package.native import native_files
from engines.package.runner import Package
from engines.package.sign import new_key, sign
from engines.package.signature import Trust
from engines.package.verify import verify
from engines.package.write import Contents, amend, pack, write
from tests.engines.certificates import locked_key, maker
from tests.engines.package_parts import PROMPT, SEED, contents


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write(contents(folder), folder / "tiny")
    return folder / "tiny"


@pytest.fixture
def package(made: Path, tmp_path: Path) -> Path:
    shutil.copytree(made, tmp_path / "tiny")
    return tmp_path / "tiny"


def refused(call: Callable[[], object], kind: type[PackageError] = PackageError) -> str:
    with pytest.raises(kind) as caught:
        call()
    sentence = str(caught.value)
    assert "\n" not in sentence
    assert sentence.endswith(".")
    return sentence


def test_a_key_signs_and_its_public_half_verifies(package: Path, tmp_path: Path) -> None:
    before = verify(package)
    assert before.signature is None
    key, public = new_key(tmp_path / "key.pem")
    assert key.stat().st_mode & 0o077 == 0
    signed = sign(package, key)
    assert signed.id == before.id
    assert signed.signature is not None
    assert not signed.signature.trusted
    found = verify(package, Trust(key=public)).signature
    assert found is not None
    assert found.trusted
    assert "checked" in str(found)
    _, other = new_key(tmp_path / "other.pem")
    assert "not made by the key in other.pem.pub" in refused(
        lambda: verify(package, Trust(key=other)), SignatureRefused
    )
    assert "is no public key" in refused(lambda: verify(package, Trust(key=key)))
    assert "cannot be read" in refused(lambda: verify(package, Trust(key=tmp_path / "absent.pem")))


def test_openssf_model_signings_own_program_verifies_it_too(package: Path, tmp_path: Path) -> None:
    key, public = new_key(tmp_path / "key.pem")
    sign(package, key)
    command = [sys.executable, "-m", "model_signing", "verify", "key", str(package)]
    command += ["--signature", str(package / sums.SIGNATURE), "--public_key", str(public)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (package / "more.py").write_text("print()")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_a_certificate_signs_folder_and_zip_and_its_authority_verifies(package: Path, tmp_path: Path) -> None:
    one, other = maker(tmp_path / "one"), maker(tmp_path / "other", "Other")
    archive = pack(package)
    for place in (package, archive):
        sign(place, one.key, one.certificate)
        found = verify(place, Trust(certificates=(one.authority,))).signature
        assert found is not None
        assert (found.kind, found.signer, found.trusted) == ("certificate", "Maker", True)
        sentence = refused(lambda: verify(place, Trust(certificates=(other.authority,))), SignatureRefused)  # noqa: B023
        assert "authority.pem vouches for" in sentence
    assert verify(archive).id == verify(package).id
    assert "is not that of the key" in refused(lambda: sign(package, other.key, one.certificate))
    assert "signed with a certificate" in refused(
        lambda: verify(package, Trust(key=one.key)), SignatureRefused
    )


def test_an_expired_certificate_neither_signs_nor_verifies(
    package: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = maker(tmp_path / "old", first_day=-20, days=-10)
    assert "expired on" in refused(lambda: sign(package, old.key, old.certificate))
    early = maker(tmp_path / "early", first_day=5)
    assert "is valid from" in refused(lambda: sign(package, early.key, early.certificate))
    with monkeypatch.context() as patch:
        patch.setattr("engines.package.sign.check_dates", lambda _certificate: None)
        sign(package, old.key, old.certificate)
    trust = Trust(certificates=(old.authority,))
    assert "expired on" in refused(lambda: verify(package, trust), SignatureRefused)


def test_keys_that_cannot_sign_get_a_sentence(package: Path, tmp_path: Path) -> None:
    locked = locked_key(tmp_path / "locked.pem", "secret")
    assert "PARETO_STUDIO_KEY_PASSWORD" in refused(lambda: sign(package, locked))
    assert "no private key" in refused(lambda: sign(package, locked, password="wrong"))
    assert sign(package, locked, password="secret").signature is not None
    key, public = new_key(tmp_path / "key.pem")
    assert "no private key" in refused(lambda: sign(package, public))
    assert "no password" in refused(lambda: sign(package, key, password="secret"))
    assert "cannot be read" in refused(lambda: sign(package, tmp_path / "absent.pem"))
    assert "exists already" in refused(lambda: new_key(tmp_path / "key.pem"))
    (package / "run.py").write_text("print('evil')")
    assert "run.py was changed" in refused(lambda: sign(package, key))


def test_a_signature_is_asked_for_and_fits_one_package_only(package: Path, tmp_path: Path) -> None:
    key, public = new_key(tmp_path / "key.pem")
    trust = Trust(key=public)
    assert "is not signed" in refused(lambda: verify(package, trust), SignatureRefused)
    assert "is not signed" in refused(lambda: Package(package, trust=trust), SignatureRefused)
    sign(package, key)
    kept = (package / sums.SIGNATURE).read_bytes()
    amend(package, lambda facts: facts.model_copy(update={"title": "another"}))
    assert not (package / sums.SIGNATURE).exists()
    (package / sums.SIGNATURE).write_bytes(kept)
    for call in (lambda: verify(package), lambda: Package(package), lambda: Package(package, trust=trust)):
        assert "signs another package" in refused(call, SignatureRefused)


def with_context(folder: Path) -> Contents:
    """A toy package whose decoder has a first variant with a compiled context, which nothing here runs."""
    import onnx
    from onnx import TensorProto, helper

    plain = contents(folder)
    usual = next(part for part in plain.engines if part.component == "decoder")
    value = helper.make_tensor_value_info
    node = helper.make_node(
        "EPContext", ["latent"], ["image"], domain="com.microsoft", ep_cache_context="blob"
    )
    graph = helper.make_graph(
        [node],
        "compiled",
        [value("latent", TensorProto.FLOAT, ["B", 4, 4, 4])],
        [value("image", TensorProto.FLOAT, ["B", 3, 16, 16])],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("com.microsoft", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), folder / "compiled.onnx")
    engine = usual.engine.model_copy(update={"model_file": "compiled.onnx", "precision": "fp16"})
    compiled = replace(usual, engine=engine, files={"compiled.onnx": folder / "compiled.onnx"})
    return replace(plain, engines=(compiled, *plain.engines))


@pytest.fixture
def native(tmp_path: Path) -> Path:
    write(with_context(tmp_path), tmp_path / "native")
    return tmp_path / "native"


@pytest.mark.filterwarnings("ignore::engines.errors.FallbackWarning")
def test_machine_code_is_named_and_passed_over_with_the_reason(native: Path) -> None:
    found = verify(native)
    variant = found.manifest.components["decoder"].variants["onnxruntime-cpu-fp16"]
    assert variant.additional_metadata.native_code == ("compiled.onnx",)
    assert [Path(name).name for name in found.native] == ["compiled.onnx"]
    assert any("Holds machine code (compiled.onnx)" in note for note in found.notes)
    package = Package(native)
    assert package.generate([PROMPT], [SEED]).shape == (1, 16, 16, 3)
    (over,) = package.choices["decoder"].passed_over
    assert over[0] == "onnxruntime-cpu-fp16"
    assert "machine code (compiled.onnx)" in over[1]


@pytest.mark.filterwarnings("ignore::engines.errors.FallbackWarning")
def test_machine_code_is_loaded_when_signed_or_allowed_and_not_before(native: Path, tmp_path: Path) -> None:
    key, public = new_key(tmp_path / "key.pem")
    sign(native, key)

    def reason(package: Package) -> str:
        package.generate([PROMPT], [SEED])
        return package.choices["decoder"].passed_over[0][1]

    assert "machine code" in reason(Package(native))  # signed, and nobody checked by whom
    # Loaded means here: given to ONNX Runtime, which has no such compiler and says so.
    assert "cannot load compiled.onnx" in reason(Package(native, trust=Trust(key=public)))
    assert "cannot load compiled.onnx" in reason(Package(native, allow_native=True))


@pytest.mark.filterwarnings("ignore::engines.errors.FallbackWarning")
def test_a_manifest_that_hides_machine_code_is_refused(native: Path) -> None:
    path = native / sums.MANIFEST
    data = json.loads(path.read_text())
    del data["components"]["decoder"]["variants"]["onnxruntime-cpu-fp16"]["additional_metadata"][
        "native_code"
    ]
    path.write_text(json.dumps(data))
    sums.write(native)
    assert "says wrongly whether compiled.onnx is machine code" in refused(lambda: verify(native))
    # The runner asks the files themselves.
    package = Package(native)
    package.generate([PROMPT], [SEED])
    assert "machine code" in package.fallbacks[0]


def test_a_package_of_machine_code_alone_says_what_to_give(tmp_path: Path) -> None:
    parts = with_context(tmp_path)
    compiled = parts.engines[0]
    rest = tuple(part for part in parts.engines if part.component != "decoder")
    write(replace(parts, engines=(compiled, *rest)), tmp_path / "native")
    assert "--allow-native" in refused(
        lambda: Package(tmp_path / "native").generate([PROMPT], [SEED]), NoVariant
    )


def test_what_is_machine_code_is_told_by_name_and_by_content(tmp_path: Path) -> None:
    files = {
        "model.plan": b"x", "model.pt2": b"x", "a.mlmodelc/weights": b"x", "library": b"\x7fELF\2\1\1",
        "weights.bin": b"MZ" + b"\0" * 100, "program": b"MZ" + b"\0" * 58 + b"\x40\0\0\0PE\0\0",
        "model.xml": b"<net/>",
    }  # fmt: skip
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(content)
    found = native_files("openvino", "model.xml", files, lambda name: (tmp_path / name).open("rb"))
    assert found == ("a.mlmodelc/weights", "library", "model.plan", "model.pt2", "program")
