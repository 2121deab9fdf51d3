"""The keys of a bot: made at its first start, kept, missed when they are gone, and changed by a command."""

import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bot import run
from persona_chat.doctor import Verdict, examine
from persona_chat.errors import KeyMissing, SettingsError, TokenRejected
from persona_chat.keyring import keys_of, keys_to_run, rotate
from persona_chat.settings import load_settings
from persona_chat.store.database import DATABASE, open_database
from persona_chat.store.keys import NO_KEYS, new_key, read_keys
from persona_chat.store.sealing import is_done
from tests.test_backups import db
from tests.test_encryption import CANARY, Store, files_with, fill, opened, read, url_of, values

# Cut off by the test after some of its rows: it says which, and waits to be killed.
ROTATING = """
import sys
from persona_chat import keyring
from persona_chat.settings import load_settings
from persona_chat.store import sealing

sealing.BATCH = 10
seal = sealing._seal

def slowly(engine, table, keys):
    changed = seal(engine, table, keys)
    if table.name == "messages":
        print("half", flush=True)
        sys.stdin.read()
    return changed

sealing._seal = slowly
keyring.rotate(load_settings(data_dir=sys.argv[1]), sys.argv[2])
"""


@pytest.fixture
def running(tmp_path):
    return load_settings(data_dir=tmp_path / "data")


def lived(folder, keys=NO_KEYS, count=1):
    store = fill(opened(url_of(folder), keys), count)
    before = read(store)
    store.close()
    return before


def now(folder, keys):
    store = Store(open_database(url_of(folder), keys))
    found = read(store)
    store.close()
    return found


def test_the_first_start_makes_a_key_for_its_owner_only_and_encrypts_what_is_there(tmp_path, running, caplog):
    before = lived(tmp_path)
    keys = keys_to_run(running, url_of(tmp_path))
    file = running.data_dir / "key"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert "keep a copy elsewhere" in caplog.text
    assert keys.all[0].line not in caplog.text
    assert now(tmp_path, keys) == before
    assert files_with(running.data_dir, CANARY) == []
    written = file.read_bytes()
    assert keys_to_run(running, url_of(tmp_path)).all == keys.all
    assert file.read_bytes() == written
    assert [path.name for path in running.data_dir.glob("key*")] == ["key"]


def test_without_its_key_a_bot_refuses_to_start_and_makes_no_other(tmp_path, running):
    keys_to_run(running, opened_url(tmp_path))
    lived(tmp_path, keys_of(running))
    (running.data_dir / "key").rename(tmp_path / "kept elsewhere")
    engine = open_database(url_of(tmp_path))
    before = values(engine)
    for encrypts in (True, False):
        with pytest.raises(KeyMissing, match="PERSONA_CHAT_KEY_FILE") as caught:
            keys_to_run(running.model_copy(update={"encrypt": encrypts}), url_of(tmp_path))
        assert caught.value.exit_code == 16
    assert not (running.data_dir / "key").exists()
    assert values(engine) == before
    engine.dispose()
    elsewhere = load_settings(data_dir=running.data_dir, key_file=tmp_path / "kept elsewhere")
    assert len(keys_to_run(elsewhere, url_of(tmp_path)).all) == 1


def opened_url(folder):
    opened(url_of(folder), NO_KEYS).dispose()
    return url_of(folder)


def test_a_file_that_holds_no_key_is_refused_and_left_as_it_is(tmp_path, running):
    lived(tmp_path)
    (running.data_dir / "key").write_text("half a ke")
    with pytest.raises(SettingsError, match="holds something that is no key"):
        keys_to_run(running, url_of(tmp_path))
    assert (running.data_dir / "key").read_text() == "half a ke"
    assert files_with(running.data_dir, CANARY)


def test_turned_off_words_are_plain_again_at_the_next_start(tmp_path, running):
    before = lived(tmp_path)
    keys_to_run(running, url_of(tmp_path))
    keys = keys_to_run(running.model_copy(update={"encrypt": False}), url_of(tmp_path))
    assert (keys.begin, now(tmp_path, NO_KEYS)) == ("", before)
    never = load_settings(data_dir=tmp_path / "never", encrypt=False)
    assert keys_to_run(never, opened_url(tmp_path / "other")).all == ()
    assert not (tmp_path / "never").exists()


def test_keys_can_stand_in_the_settings(tmp_path, running):
    before = lived(tmp_path)
    first, second = new_key(), new_key()
    given = load_settings(data_dir=running.data_dir, keys=first.line)
    assert keys_to_run(given, url_of(tmp_path)).all == (first,)
    newer = load_settings(data_dir=running.data_dir, keys=f"{second.line},{first.line}")
    keys, changed = rotate(newer, url_of(tmp_path))
    assert (keys.all, changed) == ((second, first), 5)
    assert now(tmp_path, keys) == before
    assert not (running.data_dir / "key").exists()


def test_a_rotation_that_is_killed_is_brought_to_its_end_under_the_same_key(tmp_path, running):
    before = lived(tmp_path, count=30)
    old = keys_to_run(running, url_of(tmp_path))
    script = [sys.executable, "-c", ROTATING, str(running.data_dir), url_of(tmp_path)]
    with subprocess.Popen(script, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "half\n"
        process.send_signal(signal.SIGKILL)
    half = keys_of(running)
    engine = open_database(url_of(tmp_path), half)
    assert not is_done(engine, half)
    assert now(tmp_path, half) == before
    keys, changed = rotate(running, url_of(tmp_path))
    assert keys.all == half.all == (keys.all[0], *old.all)
    assert 0 < changed < 121
    assert is_done(engine, keys)
    assert now(tmp_path, keys) == before
    engine.dispose()
    assert len(rotate(running, url_of(tmp_path))[0].all) == 3


def test_nothing_encrypted_has_no_key_to_change(tmp_path, running):
    with pytest.raises(SettingsError, match="Nothing is encrypted here"):
        rotate(running, opened_url(tmp_path))


async def test_a_bot_that_starts_encrypts_what_there_is(tmp_path, running, login_discord, monkeypatch):
    before = lived(tmp_path)
    monkeypatch.setenv("DISCORD_TOKEN", "a-token")
    login_discord.status = 401  # it ends there
    with pytest.raises(TokenRejected):
        await run.serve(load_settings(data_dir=running.data_dir))
    assert files_with(running.data_dir, CANARY) == []
    assert now(tmp_path, keys_of(running)) == before


def test_the_command_says_which_key_it_is_and_shows_none(tmp_path, running):
    lived(tmp_path)
    keys_to_run(running, url_of(tmp_path))
    command = [sys.executable, "-m", "bot", "db", "rotate-key", "--data-dir", str(running.data_dir)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=True)
    newest, older = read_keys((running.data_dir / "key").read_text(), "here")
    assert newest.id in done.stdout
    assert "The older keys stay" in done.stdout
    assert newest.line not in done.stdout + done.stderr
    assert older.line not in done.stdout + done.stderr


def test_doctor_says_under_which_key_and_which_one_is_missing(tmp_path, running):
    def said(**more):
        findings = examine(load_settings(data_dir=running.data_dir, **more))
        return {one.what: one for one in findings}["Encryption"]

    assert said().detail == "on; the first start makes the key"
    lived(tmp_path)
    assert said().verdict is Verdict.OK
    keys = keys_to_run(running, url_of(tmp_path))
    assert keys.all[0].id in said().detail
    assert said(encrypt=False).verdict is Verdict.NOTE
    (running.data_dir / "key").rename(tmp_path / "kept elsewhere")
    assert said().stops_the_bot
    assert keys.all[0].id in said().detail


def test_a_restore_reads_what_is_encrypted_to_delete_a_part_of_it(tmp_path, running):
    """Two messages that were joined, of which one is deleted after the backup: the words of the other stay."""
    lived(tmp_path, keys_to_run(running, opened_url(tmp_path)))
    made = Path(db(running, "backup").splitlines()[0])
    store = Store(open_database(url_of(tmp_path), keys_of(running)), running.data_dir)
    with store.ledger.noted("deleted", (1,)):
        store.answers.delete([1])
    store.close()
    assert "1 deletions were done again" in db(running, "restore", made)
    store = Store(open_database(url_of(tmp_path), keys_of(running)))
    assert [part.text for part in store.answers.find(2).parts] == [f"said 1 {CANARY}"]
    store.close()
    assert "1 deletions were done again" in db(running, "forget-again")
    (running.data_dir / "key").rename(tmp_path / "kept elsewhere")
    before = (running.data_dir / DATABASE).read_bytes()
    assert "under the key" in db(running, "restore", made, code=16)
    assert (running.data_dir / DATABASE).read_bytes() == before
