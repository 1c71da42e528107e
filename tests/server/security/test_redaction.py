from __future__ import annotations

import base64
import json
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llmspell.security.redaction import REDACTED, Redactor
from llmspell.values import dumps

SECRETS = st.text(min_size=6, max_size=40).filter(lambda text: text.isprintable())


@given(secret=SECRETS, before=st.text(max_size=20), after=st.text(max_size=20))
def test_a_secret_is_removed_wherever_it_stands_also_url_encoded(
    secret: str, before: str, after: str
) -> None:
    redactor = Redactor([secret])
    for form in (secret, quote(secret, safe=""), quote_plus(secret)):
        redacted = redactor.redact(f"{before}{form}{after}")
        assert REDACTED in redacted
        assert form not in redacted.replace(REDACTED, "\0")


@given(secret=SECRETS, before=st.binary(max_size=9), after=st.binary(max_size=9))
def test_a_secret_inside_a_base64_text_is_removed_at_any_alignment(
    secret: str, before: bytes, after: bytes
) -> None:
    redactor = Redactor([secret])
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        assert REDACTED in redactor.redact(encode(before + secret.encode() + after).decode())


@pytest.mark.parametrize(
    "text",
    [
        "Incorrect API key provided: sk-proj-abcd****wxyz.",
        "header Authorization: Bearer eyJhbGciOi.x.y was refused",
        "key AIzaSyA1234567890abcdefghijk is not valid",
        "cannot connect to https://me:abcd-eyJ-AIza@models.example/v1",
    ],
)
def test_what_looks_like_a_key_is_removed_though_nobody_named_it(text: str) -> None:
    redacted = Redactor().redact(text)
    assert REDACTED in redacted
    for piece in ("abcd", "eyJ", "AIza"):
        assert piece not in redacted


def test_a_secret_is_removed_from_json_and_from_what_python_shows_of_it() -> None:
    secret = 'pa"ss\\wo\trdé'
    for text in (json.dumps({"key": secret}), dumps({"key": secret}), repr({"key": secret})):
        redacted = Redactor([secret]).redact(text)
        assert REDACTED in redacted
        assert "wo" not in redacted


def test_a_secret_that_is_no_text_is_removed_as_any_other() -> None:
    secret = b"abc\xff\xfedef".decode(errors="surrogateescape")  # as the environment is read
    assert Redactor([secret]).redact(f"[{secret}] abc%FF%FEdef") == "[***] ***"


def test_ordinary_words_and_very_short_secrets_are_left_alone() -> None:
    text = "The risk-based task uses sk-learn; ask the bearer of news."
    assert Redactor(["", "the"]).redact(text) == text


def test_of_two_secrets_the_longer_is_removed_whole() -> None:
    redacted = Redactor(["secret-key", "secret-key-two"]).redact("[secret-key-two] [secret-key]")
    assert redacted == "[***] [***]"
