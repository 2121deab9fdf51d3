"""Keys for people's words, and how a word looks that is kept under one: AES-256-GCM, each under a nonce of its own.

A kept word is `enc1:`, the key's id, `:` and base64 of nonce, ciphertext and tag. The column that it lies in is
authenticated with it: moved to another one, it is refused. No word at all ("") is kept as it is.
"""

import base64
import binascii
import hashlib
import os
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from persona_chat.errors import KeyMissing, SettingsError, WordsUnreadable

KEY_BYTES = 32
NONCE_BYTES = 12

MARK = "enc1:"
PLAIN = f"{MARK}plain:"
"""Before a plain word that itself begins with the mark, and would look like a kept one."""

NOT_KEYS = (
    "{where} holds something that is no key. Put your backup of it in its place; without the keys "
    "what was encrypted cannot be read. Nothing was changed."
)


@dataclass(frozen=True)
class Key:
    """One key. Its id says which it is and nothing about it."""

    secret: bytes = field(repr=False)

    @property
    def id(self) -> str:
        """Eight hexadecimal digits."""
        return hashlib.sha256(b"persona-chat key\0" + self.secret).hexdigest()[:8]

    @property
    def line(self) -> str:
        """The key as it is written in a file or a variable."""
        return base64.urlsafe_b64encode(self.secret).decode()


class Keys:
    """The keys of a database: all of them read, and the first one writes, or none with `writes` false."""

    def __init__(self, keys: Iterable[Key], *, writes: bool = True) -> None:
        self.all = tuple(keys)
        self.writing = self.all[0] if writes and self.all else None
        self._ciphers = {key.id: AESGCM(key.secret) for key in self.all}

    @property
    def begin(self) -> str:
        """How a word begins that is kept as these keys write; "" when they write none."""
        return f"{MARK}{self.writing.id}:" if self.writing is not None else ""

    def seal(self, words: str, column: str) -> str:
        """Return words as they are kept."""
        if not words:
            return words
        if self.writing is None:
            return PLAIN + words if words.startswith(MARK) else words
        nonce = os.urandom(NONCE_BYTES)
        # Halves of pairs come in what people send, and no codec keeps them unless it is told to.
        sealed = self._ciphers[self.writing.id].encrypt(nonce, words.encode("utf-8", "surrogatepass"), column.encode())
        return self.begin + base64.b64encode(nonce + sealed).decode()

    def open(self, kept: str, column: str) -> str:
        """Return the words that `seal` was given. Raises KeyMissing, and WordsUnreadable when they were changed."""
        if not kept.startswith(MARK):
            return kept
        if kept.startswith(PLAIN):
            return kept.removeprefix(PLAIN)
        key_id, _, sealed = kept.removeprefix(MARK).partition(":")
        cipher = self._ciphers.get(key_id)
        if cipher is None:
            raise KeyMissing(key_id)
        try:
            raw = base64.b64decode(sealed, validate=True)
            words = cipher.decrypt(raw[:NONCE_BYTES], raw[NONCE_BYTES:], column.encode())
        except (binascii.Error, ValueError, InvalidTag):
            raise WordsUnreadable(column) from None
        return words.decode("utf-8", "surrogatepass")


NO_KEYS = Keys(())
"""Where nothing is encrypted."""


def new_key() -> Key:
    """Return a key that nobody has."""
    return Key(secrets.token_bytes(KEY_BYTES))


def read_keys(text: str, where: str) -> tuple[Key, ...]:
    """Read keys, one a line or with commas between; `#` begins a remark. Raises SettingsError, which shows none."""
    written = ",".join(line.partition("#")[0] for line in text.splitlines()).split(",")
    try:
        keys = tuple(
            Key(base64.b64decode(one.strip(), altchars=b"-_", validate=True)) for one in written if one.strip()
        )
    except (binascii.Error, ValueError):
        raise SettingsError(NOT_KEYS.format(where=where)) from None
    if not keys or any(len(key.secret) != KEY_BYTES for key in keys):
        raise SettingsError(NOT_KEYS.format(where=where))
    return keys
