"""Where the keys for people's words come from: settings, else a file in the data folder, which is made for a bot.

A key that is lost cannot be had back, and neither can the words: a file of keys is only ever added to.
"""

import logging
import os
from pathlib import Path

from persona_chat.errors import DataFolderUnusable, SettingsError
from persona_chat.settings import Settings
from persona_chat.store.backup import sync
from persona_chat.store.database import open_database, open_to_look
from persona_chat.store.keys import Key, Keys, new_key, read_keys
from persona_chat.store.sealing import is_done, seal_all, see_that_keys_are_there

log = logging.getLogger(__name__)

FILE = "key"

REMARK = "# The first key encrypts what people say, the others read what is older. Keep a copy somewhere else.\n"

MADE = (
    "What people say is encrypted from now on. The key is in %s: keep a copy elsewhere, without it nobody can read it."
)


def keys_of(settings: Settings) -> Keys:
    """Return the keys that there are, perhaps none. Raises SettingsError and DataFolderUnusable."""
    return Keys(_given(settings), writes=settings.encrypt)


def keys_seen(settings: Settings, url: str) -> Keys:
    """Return the keys that there are, once they are seen to open all that is encrypted. Changes nothing.

    The database is up to date. Raises KeyMissing, SettingsError and DataFolderUnusable.
    """
    keys = keys_of(settings)
    engine = open_to_look(url)
    try:
        see_that_keys_are_there(engine, keys)
    finally:
        engine.dispose()
    return keys


def keys_to_run(settings: Settings, url: str) -> Keys:
    """Return the keys for a bot, and bring all words under them: encrypted or plain, as the settings say.

    The database is up to date, and no other process uses it. Where nothing was encrypted yet, a key is made.
    Raises KeyMissing, SettingsError, DataFolderUnusable and DatabaseUnusable.
    """
    keys = keys_of(settings)
    if not keys.all and settings.encrypt:
        engine = open_database(url)
        try:
            see_that_keys_are_there(engine, keys)  # before a new key hides that the old one is gone
        finally:
            engine.dispose()
        keys = Keys([_add_key(settings, ())])
        log.warning(MADE, _file(settings))
    engine = open_database(url, keys)
    try:
        changed = seal_all(engine, keys)
    finally:
        engine.dispose()
    if changed:
        log.info("%d rows were %s", changed, "encrypted" if keys.writing is not None else "decrypted")
    return keys


def rotate(settings: Settings, url: str) -> tuple[Keys, int]:
    """Make a new key and bring all words under it; return the keys, and how many rows that changed.

    Where an earlier call was cut off, that is brought to its end instead of making another key. Keys that stand in
    the settings are not made here: the first of them is brought to use. Raises as `keys_to_run`, and SettingsError
    when nothing is encrypted.
    """
    keys = keys_of(settings)
    if keys.writing is None:
        raise SettingsError("Nothing is encrypted here: PERSONA_CHAT_ENCRYPT is off, or the bot has never run.")
    engine = open_database(url, keys)
    try:
        if settings.keys is None and is_done(engine, keys):
            keys = Keys([_add_key(settings, keys.all), *keys.all])
    finally:
        engine.dispose()
    engine = open_database(url, keys)
    try:
        return keys, seal_all(engine, keys)
    finally:
        engine.dispose()


def _given(settings: Settings) -> tuple[Key, ...]:
    if settings.keys is not None:
        return read_keys(settings.keys.get_secret_value(), "PERSONA_CHAT_KEYS")
    file = _file(settings)
    try:
        return read_keys(file.read_text(encoding="utf-8"), str(file))
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError):
        raise DataFolderUnusable(f"The file of keys {file} cannot be read. See that it is ours to read.") from None


def _file(settings: Settings) -> Path:
    return settings.key_file or settings.data_dir / FILE


def _add_key(settings: Settings, there: tuple[Key, ...]) -> Key:
    """Make a key and write it before those that are there. The file has all of them or is as it was."""
    file, key = _file(settings), new_key()
    partial = file.with_name(f"{file.name}.tmp")
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))
        partial.write_text(REMARK + "".join(f"{one.line}\n" for one in (key, *there)), encoding="ascii")
        sync(partial)
        if there:
            partial.rename(file)
        else:
            os.link(partial, file)  # unlike a rename, it replaces nothing
            partial.unlink()
        sync(file.parent)
    except OSError as error:
        raise DataFolderUnusable(f"The key cannot be written to {file} ({error.strerror}).") from None
    return key
