"""Keys: where they come from, which address gets them, and that prices and budgets are read as written."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import KnowledgeError
from agent.llm import key as keys
from agent.llm.errors import LlmKeyError, LlmUnusable
from agent.llm.key import OFFICIAL, Secret, address, find_key, is_local, is_official, keep_key
from agent.llm.prompts import NAMES, parse, prompt
from agent.llm.spending import Budget, Usage, parse_prices, prices, read_budget
from studio.cli import main

LOCAL = "http://127.0.0.1:8080"


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "PARETO_STUDIO_LLM_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(keys, "_given", {})


@pytest.fixture
def keyring_file(tmp_path: Path) -> Iterator[Path]:
    """A real keyring of the `keyring` package, in a file of the test's own.

    Every class of a keyring joins those that `keyring` chooses from, for as long as the process lives:
    a priority below nought keeps this one out of the choice, and the test sets it by name.
    """
    import keyring
    from keyring.backend import KeyringBackend

    place = tmp_path / "keyring"
    place.mkdir()

    class Files(KeyringBackend):
        priority = -1

        def __init__(self) -> None:
            super().__init__()  # type: ignore[no-untyped-call]

        def _file(self, service: str, username: str) -> Path:
            return place / f"{service}-{abs(hash(username))}"

        def set_password(self, service: str, username: str, password: str) -> None:
            self._file(service, username).write_text(password)

        def get_password(self, service: str, username: str) -> str | None:
            file = self._file(service, username)
            return file.read_text() if file.exists() else None

        def delete_password(self, service: str, username: str) -> None:
            self._file(service, username).unlink()

    before = keyring.get_keyring()
    keyring.set_keyring(Files())
    yield place
    keyring.set_keyring(before)


def test_a_key_comes_from_the_sitting_the_environment_or_the_keyring(keyring_file: Path) -> None:
    assert keep_key("", "from-keyring") == "keyring"
    assert (find_key().value, find_key().source) == ("from-keyring", "keyring")
    environment = {"ANTHROPIC_API_KEY": "from-environment"}
    assert find_key("", environment).source == "environment"
    keys._given[OFFICIAL] = "from-sitting"
    assert find_key("", environment).source == "sitting"
    keep_key("", "")
    assert list(keyring_file.iterdir()) == []
    with pytest.raises(LlmKeyError, match="ANTHROPIC_API_KEY"):
        find_key("", {})


def test_the_services_key_goes_to_no_other_address() -> None:
    environment = {"ANTHROPIC_API_KEY": "the-services-own"}
    assert not find_key(LOCAL, environment)
    assert find_key(LOCAL, {**environment, "ANTHROPIC_BASE_URL": f"{LOCAL}/"}).value == "the-services-own"
    assert find_key(LOCAL, {**environment, "PARETO_STUDIO_LLM_KEY": "for-any"}).value == "for-any"
    assert not find_key("https://api.anthropic.com.evil.example", environment)


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("", OFFICIAL),
        ("http://localhost:11434/", "http://localhost:11434"),
        ("https://llm.example.org/api/", "https://llm.example.org/api"),
        ("http://[::1]:80", "http://[::1]:80"),
    ],
)
def test_addresses_are_written_one_way(given: str, meant: str) -> None:
    assert address(given) == meant


@pytest.mark.parametrize(
    "given", ["file:///etc/passwd", "localhost:80", "http://", "http://a:b@c", "http://a?key=1", "http://a:x"]
)
def test_what_is_no_address_is_refused_without_being_repeated(given: str) -> None:
    with pytest.raises(LlmUnusable) as found:
        address(given)
    assert "a:b" not in str(found.value)


def test_where_an_address_is() -> None:
    assert is_official("")
    assert is_local("http://localhost:1")
    assert not is_local("https://llm.example.org")


def test_a_secret_hides_itself() -> None:
    secret = Secret("sk-0123456789", "keyring")
    assert f"{secret} {secret!r}" == "Secret(from the keyring) Secret(from the keyring)"
    assert secret.hide("x sk-0123456789 y") == "x [key] y"
    assert Secret("").hide("as it is") == "as it is"


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("2.50", Budget(usd=2.5)),
        ("$3", Budget(usd=3.0)),
        ("5 usd", Budget(usd=5.0)),
        ("300k tokens", Budget(tokens=300_000)),
        ("1.5Mt", Budget(tokens=1_500_000)),
        ("2000 tok", Budget(tokens=2000)),
    ],
)
def test_budgets_are_money_or_tokens(text: str, budget: Budget) -> None:
    assert read_budget(text) == budget


@pytest.mark.parametrize("text", ["", "0", "-1", "lots", "300k", "$3 tokens", "1e9"])
def test_what_could_be_either_or_neither_is_no_budget(text: str) -> None:
    with pytest.raises(ValueError, match=r"budget|dollars"):
        read_budget(text)


def test_prices_are_known_for_the_services_own_address_only() -> None:
    table = prices()
    assert table.as_of == "2026-10-24"
    assert "pricing" in table.source
    opus = table.rates("claude-opus-5-5-20260901")
    assert opus is not None
    assert opus.price(Usage(input=1_000_000)) == pytest.approx(4.0)
    assert opus.price(Usage(read=1_000_000, output=100_000)) == pytest.approx(0.2 + 2.0)
    assert table.rates("claude-opus-5-5", LOCAL) is None
    assert table.rates("claude-unheard-of") is None
    haiku = table.rates("claude-haiku-5-5")
    assert haiku is not None
    assert haiku.price(Usage(input=100_000)) == pytest.approx(0.01)
    assert haiku.price(Usage(input=100_000, read=1)) == pytest.approx(0.05, rel=1e-3)


@pytest.mark.parametrize("text", ["", "as_of = 1", 'source = "x"\nas_of = 2026-01-01\n[model.a]\ninput = -1'])
def test_a_damaged_table_of_prices_is_said(text: str) -> None:
    with pytest.raises(KnowledgeError, match="cannot be read"):
        parse_prices(text)


def test_every_prompt_says_its_name_and_version_and_is_filled_completely() -> None:
    for name in NAMES:
        found = prompt(name)
        assert re.fullmatch(rf"{name}/[1-9]", found.title)
        with pytest.raises(KnowledgeError, match="has places"):
            found.fill(nothing="x")
    assert parse("<!-- prompt plan, version 7 -->\nSay ${what}.").fill(what="yes $5") == "Say yes $5.\n"
    with pytest.raises(KnowledgeError, match="must begin"):
        parse("Say what.")


def test_the_command_keeps_a_key_in_the_keyring_and_forgets_it(
    keyring_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    command = ["llm-key", "--llm-url", LOCAL, "--json", "--home", str(tmp_path / "home")]
    monkeypatch.setattr("sys.stdin", io.StringIO("sk-canary-1234567890\n"))
    assert main(command) == 0
    said = capfd.readouterr()
    assert json.loads(said.out) == {"url": LOCAL, "kept": "keyring"}
    assert "canary" not in said.out + said.err
    assert find_key(LOCAL).value == "sk-canary-1234567890"
    assert find_key(LOCAL).source == "keyring"
    monkeypatch.setattr("sys.stdin", io.StringIO("\n"))
    assert main(command) == 0
    assert json.loads(capfd.readouterr().out)["kept"] == "none"
    assert not find_key(LOCAL)


def test_a_command_without_a_keyring_says_that_nothing_was_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    import keyring
    from keyring.core import load_keyring

    before = keyring.get_keyring()
    keyring.set_keyring(load_keyring("keyring.backends.fail.Keyring"))
    try:
        monkeypatch.setattr("sys.stdin", io.StringIO("sk-canary-1234567890\n"))
        assert main(["llm-key", "--home", str(tmp_path)]) == 1
    finally:
        keyring.set_keyring(before)
    said = capfd.readouterr()
    assert "it was not kept" in " ".join(said.err.split())
    assert "canary" not in said.out + said.err
