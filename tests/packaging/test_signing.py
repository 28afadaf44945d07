"""Installers are signed: real certificates made for the test, the real tools, and their answer to a check."""

from __future__ import annotations

import base64
import datetime as dt
import importlib
import os
import plistlib
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, pkcs12
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from tests.packaging.tiny_bundle import ROOT

INSTALLERS = ROOT / "packaging" / "installers"
PASSWORD = "geheim Ω"
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)

needs_osslsigncode = pytest.mark.skipif(
    shutil.which("osslsigncode") is None, reason="it signs: apt install osslsigncode"
)
needs_nsis = pytest.mark.skipif(shutil.which("makensis") is None, reason="it compiles: apt install nsis")
needs_gpg = pytest.mark.skipif(shutil.which("gpg") is None, reason="it signs: apt install gpg")


@pytest.fixture(autouse=True)
def _not_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith(("SIGN_", "SECRET_"))]:
        monkeypatch.delenv(name)


def module(monkeypatch: pytest.MonkeyPatch, name: str) -> ModuleType:
    """One of `packaging/installers`."""
    monkeypatch.syspath_prepend(str(INSTALLERS))
    return importlib.import_module(name)


def certificate(
    folder: Path,
    *,
    first: dt.timedelta = dt.timedelta(days=-400),
    last: dt.timedelta = dt.timedelta(days=36500),
    use: ObjectIdentifier = ExtendedKeyUsageOID.CODE_SIGNING,
) -> Path:
    """A self-signed certificate with its key as a `.pfx`, its password in a file, and alone as a `.pem`."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pareto Studio test")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(NOW + first)
        .not_valid_after(NOW + last)
        .add_extension(x509.ExtendedKeyUsage([use]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = BestAvailableEncryption(PASSWORD.encode())
    pfx = folder / "signing.pfx"
    pfx.write_bytes(pkcs12.serialize_key_and_certificates(b"test", key, made, None, secret))
    (folder / "password").write_text(PASSWORD + "\n", encoding="utf-8")
    (folder / "signing.pem").write_bytes(made.public_bytes(Encoding.PEM))
    return pfx


def configure(monkeypatch: pytest.MonkeyPatch, pfx: Path) -> None:
    monkeypatch.setenv("SIGN_WINDOWS_PFX", str(pfx))
    monkeypatch.setenv("SIGN_WINDOWS_PASSWORD", str(pfx.parent / "password"))


def verified(program: Path, certificate: Path) -> str:
    """What osslsigncode says of a signature, where this certificate is trusted."""
    done = subprocess.run(
        ["osslsigncode", "verify", "-CAfile", certificate.with_suffix(".pem"), "-in", program],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def compiled(folder: Path, name: str) -> Path:
    """A small Windows program."""
    script = folder / f"{name}.nsi"
    script.write_text(f'Unicode true\nOutFile "{folder / name}.exe"\nSection\nSectionEnd\n')
    subprocess.run(["makensis", "-V1", script], check=True, capture_output=True)
    return folder / f"{name}.exe"


@pytest.mark.parametrize("system", ["linux", "windows", "macos"])
def test_an_unsigned_installer_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str) -> None:
    signing = module(monkeypatch, "signing")
    assert "NOT SIGNED" in signing.sign(tmp_path / "a.bin", system)
    assert not signing.sign_inside(tmp_path)
    assert "NOT NOTARISED" in signing.notarise(tmp_path / "A.app")


@needs_osslsigncode
@needs_nsis
def test_the_windows_installer_its_uninstaller_and_what_is_inside_are_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing, windows, source = (module(monkeypatch, name) for name in ("signing", "windows", "source"))
    pfx = certificate(tmp_path)
    configure(monkeypatch, pfx)
    tree = tmp_path / "tree Ω"
    (tree / "backend").mkdir(parents=True)
    (tree / "backend" / "notes.txt").write_text("MZ is how a program begins")
    shutil.copyfile(compiled(tmp_path, "plain"), tree / "backend" / "uv.exe")
    shutil.copyfile(tree / "backend" / "uv.exe", tree / "backend" / "signed.exe")
    signing.sign(tree / "backend" / "signed.exe", "windows")
    before = (tree / "backend" / "signed.exe").read_bytes()
    assert signing.sign_inside(tree) == ["1 programs and libraries inside are signed."]
    assert (tree / "backend" / "signed.exe").read_bytes() == before
    assert (tree / "backend" / "notes.txt").read_text() == "MZ is how a program begins"
    icon = module(monkeypatch, "icon")
    (tree / "pareto-studio.ico").write_bytes(icon.ico(ROOT / "assets" / "icons" / "studio.svg"))
    target = tmp_path / "installer.exe"
    given = source.Source(ROOT, "1.0.0", 1_790_000_000, "")
    windows.compile_script(given, tree, target, frozen=True)
    said = signing.sign(target, "windows")
    assert "is signed until 2125" in said
    assert "SIGN_WINDOWS_TIMESTAMP is not set" in said
    assert "Pareto Studio test" in verified(target, pfx)
    if shutil.which("7z"):
        unpacked = tmp_path / "unpacked"
        subprocess.run(["7z", "x", "-y", f"-o{unpacked}", target], check=True, capture_output=True)
        for name in ("uninstall.exe", "backend/uv.exe", "backend/signed.exe"):
            verified(unpacked / name, pfx)
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    with pytest.raises(AssertionError):
        verified(target, pfx)


@pytest.mark.parametrize(
    ("case", "sentence"),
    [
        ("password", r"does not open: the password in SIGN_WINDOWS_PASSWORD is another"),
        ("damaged", r"does not open: .*or the file is damaged"),
        ("expired", r"expired on 2025-12-31; renew it"),
        ("early", r"is not valid before 2125-"),
        ("use", r"is not one for signing programs"),
        ("content", r"SIGN_WINDOWS_PFX must name a \.pfx file, and none can be read there"),
        ("text", r"SIGN_WINDOWS_PASSWORD must name a file with the password"),
    ],
)
def test_a_certificate_that_cannot_sign_stops_the_build_and_shows_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str, sentence: str
) -> None:
    signing, source = module(monkeypatch, "signing"), module(monkeypatch, "source")
    century, day = dt.timedelta(days=36500), dt.timedelta(days=1)
    pfx = {
        "expired": lambda: certificate(tmp_path, last=-day),
        "early": lambda: certificate(tmp_path, first=century - day),
        "use": lambda: certificate(tmp_path, use=ExtendedKeyUsageOID.SERVER_AUTH),
    }.get(case, lambda: certificate(tmp_path))()
    configure(monkeypatch, pfx)
    if case == "password":
        (tmp_path / "password").write_text("another")
    if case == "damaged":
        pfx.write_bytes(pfx.read_bytes()[:-9])
    if case == "content":
        monkeypatch.setenv("SIGN_WINDOWS_PFX", base64.b64encode(pfx.read_bytes()).decode())
    if case == "text":
        monkeypatch.setenv("SIGN_WINDOWS_PASSWORD", PASSWORD)
    (tmp_path / "a.exe").write_bytes(b"MZ")
    with pytest.raises(source.BuildError, match=sentence) as caught:
        signing.sign(tmp_path / "a.exe", "windows")
    assert PASSWORD not in str(caught.value)
    assert "MII" not in str(caught.value)
    assert (tmp_path / "a.exe").read_bytes() == b"MZ"


def key_ring(home: Path, expires: str = "0") -> None:
    home.mkdir(0o700)
    made: list[str | Path] = [
        "gpg", "--homedir", home, "--batch", "--pinentry-mode", "loopback", "--passphrase", PASSWORD,
        "--faked-system-time", "20260101T000000!", "--quick-generate-key", "test@pareto-studio.invalid",
        "ed25519", "sign", expires,
    ]  # fmt: skip
    subprocess.run(made, check=True, capture_output=True)


@needs_gpg
@pytest.mark.slow
def test_a_linux_installer_has_a_signature_that_gpg_accepts_and_a_changed_one_has_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing, source = module(monkeypatch, "signing"), module(monkeypatch, "source")
    from_secrets = module(monkeypatch, "from_secrets")
    # A short name: the agent's socket has a path of at most 107 letters.
    key_ring(tmp_path / "a")
    gpg: list[str | Path] = ["gpg", "--homedir", tmp_path / "a", "--batch", "--pinentry-mode", "loopback"]
    secret = subprocess.check_output(
        [*gpg, "--passphrase", PASSWORD, "--export-secret-keys"], stderr=subprocess.DEVNULL
    )
    monkeypatch.setenv("SECRET_GPG_KEY", base64.encodebytes(secret).decode())
    monkeypatch.setenv("SECRET_GPG_PASSWORD", PASSWORD)
    for name, value in from_secrets.prepare("linux", tmp_path / "s").items():
        monkeypatch.setenv(name, value)
    installer = tmp_path / "a.run"
    installer.write_bytes(b"an installer")
    assert signing.sign(installer, "linux") == "a.run is signed: a.run.asc."
    check: list[str | Path] = ["gpg", "--batch", "--verify", f"{installer}.asc", installer]
    subprocess.run(check, check=True, capture_output=True)
    installer.write_bytes(b"an Installer")
    assert subprocess.run(check, check=False, capture_output=True).returncode
    Path(os.environ["SIGN_GPG_PASSWORD"]).write_text("another")
    subprocess.run(["gpgconf", "--kill", "gpg-agent"], check=True)
    with pytest.raises(source.BuildError, match="password in SIGN_GPG_PASSWORD is not that of the key"):
        signing.sign(installer, "linux")
    monkeypatch.setenv("SIGN_GPG_KEY", "0123456789ABCDEF")
    with pytest.raises(source.BuildError, match="gpg has no secret key of the id in SIGN_GPG_KEY"):
        signing.sign(installer, "linux")
    key_ring(tmp_path / "e", expires="2026-01-02")
    monkeypatch.setenv("GNUPGHOME", str(tmp_path / "e"))
    monkeypatch.setenv("SIGN_GPG_KEY", "test@pareto-studio.invalid")
    with pytest.raises(source.BuildError, match="The key in SIGN_GPG_KEY has expired"):
        signing.sign(installer, "linux")
    for home in (tmp_path / "a", tmp_path / "e", tmp_path / "s" / "gnupg"):
        subprocess.run(["gpgconf", "--homedir", home, "--kill", "gpg-agent"], check=True)


def apples_tools(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Apple's tools are on no other system: what they would be asked is written down, in its order."""
    tools, asked = folder / "tools", folder / "asked"
    tools.mkdir()
    for name in ("codesign", "xcrun", "ditto", "security", "hdiutil"):
        tool = tools / name
        tool.write_text(f'#!/bin/sh\necho "{name} $*" >>"{asked}"\necho \'1) ABC "Developer ID: Test"\'\n')
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return asked


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's program stands for Apple's")
def test_a_mac_app_without_an_identity_is_sealed_after_every_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Apple silicon says of a broken seal that the app is damaged, and offers no way on."""
    signing, asked = module(monkeypatch, "signing"), apples_tools(tmp_path, monkeypatch)
    app = tmp_path / "A.app"
    app.mkdir()
    said = signing.sign(app, "macos")
    assert "NOT SIGNED" in said
    assert "System Settings > Privacy & Security > Open Anyway" in said
    assert asked.read_text().splitlines() == [
        f"codesign --force --deep --sign - {app}", f"codesign --verify --deep --strict {app}",
    ]  # fmt: skip
    asked.unlink()

    # A whole build, where the frozen window and its start are stood for.
    macos, source = module(monkeypatch, "macos"), module(monkeypatch, "source")
    frozen = tmp_path / "frozen.app"
    (frozen / "Contents").mkdir(parents=True)
    (frozen / "Contents" / "Info.plist").write_bytes(plistlib.dumps({"CFBundleIconFile": "a.icns"}))

    def note(name: str) -> str:
        with asked.open("a") as file:
            file.write(f"{name}\n")
        return name

    monkeypatch.setattr(macos.sys, "platform", "darwin")
    monkeypatch.setattr(macos, "freeze", lambda *_: frozen)
    monkeypatch.setattr(macos, "uv_of_this_system", lambda: Path("uv"))
    monkeypatch.setattr(macos, "backend", lambda *_, **__: note("backend"))
    monkeypatch.setattr(macos, "_describe", lambda *_: note("describe"))
    monkeypatch.setattr(macos, "smoke", lambda *_: note("smoke"))
    made = macos.build(source.Source(ROOT, "1.0", 1_790_000_000, ""), tmp_path / "work", tmp_path / "out")
    monkeypatch.undo()
    words = [line.split(" /")[0] for line in asked.read_text().splitlines()]
    check = "codesign --verify --deep --strict"
    assert words[:6] == ["backend", "describe", "codesign --force --deep --sign -", check, "smoke", check]
    assert words[6].startswith("hdiutil create")
    assert len(words) == 7
    assert made.needs == {"macos": "14.0"}
    assert (tmp_path / "out" / "pareto-studio-1.0-macos-arm64.zip").exists()


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's program stands for Apple's")
def test_a_disk_image_shows_the_app_beside_the_programs_folder_and_is_notarised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    macos, asked = module(monkeypatch, "macos"), apples_tools(tmp_path, monkeypatch)
    monkeypatch.setenv("SIGN_MACOS_IDENTITY", "Developer ID: Test")
    monkeypatch.setenv("SIGN_MACOS_NOTARY", "pareto-studio")
    app, image = tmp_path / "A.app", tmp_path / "A.dmg"
    (app / "Contents").mkdir(parents=True)
    (app / "Contents" / "Info.plist").write_text("<plist/>")
    (app / "Contents" / "Frameworks").symlink_to("Versions/A")
    said = macos.disk_image(app, tmp_path / "image", image)
    shown = tmp_path / "image"
    assert (shown / "Applications").readlink() == Path("/Applications")
    assert (shown / "A.app" / "Contents" / "Frameworks").readlink() == Path("Versions/A")
    lines = asked.read_text().splitlines()
    assert f"-srcfolder {shown} " in lines[0]
    words = [line.split()[:2] for line in lines]
    assert words == [
        ["hdiutil", "create"], ["security", "find-identity"], ["codesign", "--force"],
        ["codesign", "--verify"], ["xcrun", "notarytool"], ["xcrun", "stapler"],
    ]  # fmt: skip
    assert said[:2] == ["A.dmg is signed.", "A.dmg is notarised."]


@pytest.mark.skipif(os.name == "nt", reason="a POSIX shell's program stands for Apple's")
def test_a_mac_app_is_signed_from_the_inside_out_then_checked_and_notarised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signing, source = module(monkeypatch, "signing"), module(monkeypatch, "source")
    asked = apples_tools(tmp_path, monkeypatch)
    monkeypatch.setenv("SIGN_MACOS_IDENTITY", "Developer ID: Test")
    monkeypatch.setenv("SIGN_MACOS_NOTARY", "pareto-studio")
    app = tmp_path / "A.app"
    inside = app / "Contents" / "Frameworks" / "Qt.framework" / "Versions" / "A"
    for place in (inside, app / "Contents" / "MacOS"):
        place.mkdir(parents=True)
    for code in (inside / "Qt", app / "Contents" / "MacOS" / "pareto-studio"):
        code.write_bytes(b"\xcf\xfa\xed\xfe and more")
    (app / "Contents" / "MacOS" / "script").write_text("#!/bin/sh\n")
    (app / "Contents" / "Qt").symlink_to(inside / "Qt")
    signing.sign(app, "macos")
    signing.notarise(app)
    lines = asked.read_text().splitlines()
    signed = [line.rsplit("/", 1)[1] for line in lines if line.startswith("codesign --force")]
    assert signed == ["Qt", "Qt.framework", "pareto-studio", "A.app"]
    assert all("--options runtime" in line for line in lines if line.startswith("codesign --force"))
    entitled = ["--entitlements" in line for line in lines if line.startswith("codesign --force")]
    assert entitled == [False, False, False, True]
    after = [line.split()[0:2] for line in lines if not line.startswith("codesign --force")]
    assert after == [
        ["security", "find-identity"], ["codesign", "--verify"], ["ditto", "-c"], ["xcrun", "notarytool"],
        ["xcrun", "stapler"],
    ]  # fmt: skip
    monkeypatch.setenv("SIGN_MACOS_IDENTITY", "Developer ID: Gone")
    with pytest.raises(source.BuildError, match="import it, or renew it where it has expired"):
        signing.sign(app, "macos")


@pytest.mark.parametrize("system", ["linux", "windows", "macos"])
def test_a_workflow_without_secrets_says_that_nothing_will_be_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, system: str
) -> None:
    command: list[str | Path] = [sys.executable, INSTALLERS / "from_secrets.py", system, tmp_path / "s"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert "will not be signed" in done.stdout
    assert not (tmp_path / "s").exists()


def test_a_workflows_secrets_become_files_that_sign_and_none_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends = module(monkeypatch, "certificate").ends
    written = base64.encodebytes(certificate(tmp_path).read_bytes()).decode()
    monkeypatch.setenv("GITHUB_ENV", str(tmp_path / "env"))
    monkeypatch.setenv("SECRET_WINDOWS_PFX", written)
    monkeypatch.setenv("SECRET_WINDOWS_PASSWORD", PASSWORD)
    command: list[str | Path] = [sys.executable, INSTALLERS / "from_secrets.py", "windows", tmp_path / "s"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "What is built for windows will be signed.\n"
    made = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert ends(made["SIGN_WINDOWS_PFX"], made["SIGN_WINDOWS_PASSWORD"]).year == 2125
    assert os.name == "nt" or {path.stat().st_mode & 0o777 for path in (tmp_path / "s").iterdir()} == {0o600}
    monkeypatch.setenv("SECRET_WINDOWS_PFX", "no base64: " + written)
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "The secret SECRET_WINDOWS_PFX is not base64" in done.stderr
    assert written[:20] not in done.stderr + done.stdout
    assert "Traceback" not in done.stderr
