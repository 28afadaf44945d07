"""Who made a package: signing it with a key or a certificate, and saying whose signature it must have."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QLineEdit, QWidget

from studio.ui.sitting import Sitting
from studio.ui.theme import set_role
from studio.ui.widgets.file_field import BETWEEN, FileField
from studio.ui.widgets.ways import Ways

_KEYS: Final = "Keys (*.pem *.key);;All files (*)"
_PUBLIC: Final = "Public keys (*.pub *.pem);;All files (*)"
_CERTIFICATES: Final = "Certificates (*.pem *.crt *.cer);;All files (*)"
_MANY: Final = f"several: one.pem{BETWEEN}other.pem"


@dataclass(frozen=True, slots=True)
class Asked:
    """Whose signature a package must have; nobody's in particular where both are empty."""

    key: str = ""
    certificates: tuple[str, ...] = ()

    def arguments(self) -> dict[str, Any]:
        """Of the command `verify`."""
        if self.key:
            return {"key": self.key}
        return {"certificates": list(self.certificates)} if self.certificates else {}


class Signer(QLabel):
    """Who signed the package that is shown, in a sentence; hidden where nothing is known of it."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setAccessibleName("Who signed the package")
        self.hide()

    def show_signature(self, signature: dict[str, Any] | None, *, known: bool) -> None:
        """As the command `verify` found it: `kind`, `signer`, `checked`."""
        words, role = _words(signature)
        self.setText(words)
        set_role(self, role)
        self.setVisible(known)


def _words(signature: dict[str, Any] | None) -> tuple[str, str]:
    if signature is None:
        return "Not signed: the id says which package it is, not who made it.", "muted"
    by = str(signature["signer"])
    if signature["kind"] == "key":
        by = f"the key {by}"
    if signature["checked"]:
        return f"✓  Signed by {by}; checked.", "good"
    return f"!  Signed, it says, by {by}; “Whose…” checks that.", "warn"


class SignDialog(Ways):
    """With what a package is signed."""

    ways = (
        ("key", "With my private key"),
        ("certificate", "With my private key and the certificate that an authority gave for it"),
        ("new", "With a new key, which is made now"),
    )

    def __init__(self, sitting: Sitting, parent: QWidget | None = None) -> None:
        super().__init__(
            sitting,
            "Sign the package",
            "A signature says who made a package. Its id stays, and a changed byte is refused ever after.",
            "Sign",
            parent,
        )
        self.key = FileField("Private key", _KEYS, placeholder="PEM, elliptic curve (P-256, P-384 or P-521)")
        self.password = QLineEdit()
        self.password.setEchoMode(QLineEdit.EchoMode.Password)
        self.password.setAccessibleName("Password of the key")
        self.password.setPlaceholderText("only where the key has one; it is not kept")
        self.certificate = FileField("Certificate", _CERTIFICATES, placeholder="PEM, given for this key")
        self.chain = FileField(
            "Certificates between it and the authority",
            _CERTIFICATES,
            many=True,
            placeholder=f"none, or {_MANY}",
        )
        self.new = FileField(
            "New private key",
            _KEYS,
            new=True,
            placeholder="its public half comes beside it as .pub",
        )
        self.add("Private key", self.key, "key", "certificate")
        self.add("Password", self.password, "key")
        self.add("Certificate", self.certificate, "certificate")
        self.add("Intermediate", self.chain, "certificate")
        self.add("New key", self.new, "new")
        self.key.name(sitting.text("sign/key"))
        self.certificate.name(sitting.text("sign/certificate"))
        self.chain.name(sitting.text("sign/chain"))
        self.choose(sitting.text("sign/way"))
        self.accepted.connect(self._remember)

    def complete(self) -> bool:
        if self.way == "new":
            return bool(self.new.path)
        return bool(self.key.path) and (self.way == "key" or bool(self.certificate.path))

    def arguments(self) -> dict[str, Any]:
        """Of the command `sign`."""
        if self.way == "new":
            return {"new": self.new.path}
        if self.way == "key":
            password = self.password.text()
            return {"key": self.key.path} | ({"password": password} if password else {})
        return {
            "key": self.key.path,
            "certificate": self.certificate.path,
            "chain": self.chain.paths,
        }

    def _remember(self) -> None:
        key = self.new.path if self.way == "new" else self.key.path
        self.sitting.put("sign/way", "key" if self.way == "new" else self.way)
        self.sitting.put("sign/key", key)
        self.sitting.put("sign/certificate", self.certificate.path)
        self.sitting.put("sign/chain", BETWEEN.join(self.chain.paths))


class TrustDialog(Ways):
    """Whose signature a package must have."""

    ways = (
        ("any", "Nobody's in particular: only say whom its signature names"),
        ("key", "That of the maker whose public key I have"),
        ("certificate", "That of a maker for whom an authority vouches"),
    )

    def __init__(self, sitting: Sitting, asked: Asked, parent: QWidget | None = None) -> None:
        super().__init__(
            sitting,
            "Whose package must it be?",
            "Only a key or a certificate that did not come with the package itself shows who made it.",
            "Verify",
            parent,
        )
        self.key = FileField("Public key of the maker", _PUBLIC, placeholder="PEM")
        self.authorities = FileField(
            "Certificates of authorities", _CERTIFICATES, many=True, placeholder=f"PEM; {_MANY}"
        )
        self.add("Public key", self.key, "key")
        self.add("Authority", self.authorities, "certificate")
        self.key.name(asked.key or sitting.text("trust/key"))
        self.authorities.name(*(asked.certificates or _kept(sitting.text("trust/certificates"))))
        self.choose(
            "key" if asked.key else "certificate" if asked.certificates else sitting.text("trust/way")
        )
        self.accepted.connect(self._remember)

    def complete(self) -> bool:
        given = {"any": "-", "key": self.key.path, "certificate": self.authorities.path}
        return bool(given[self.way])

    def asked(self) -> Asked:
        if self.way == "key":
            return Asked(key=self.key.path)
        return Asked(certificates=tuple(self.authorities.paths)) if self.way == "certificate" else Asked()

    def _remember(self) -> None:
        self.sitting.put("trust/way", self.way)
        self.sitting.put("trust/key", self.key.path)
        self.sitting.put("trust/certificates", BETWEEN.join(self.authorities.paths))


def _kept(text: str) -> Sequence[str]:
    return [one for one in text.split(BETWEEN) if one]
