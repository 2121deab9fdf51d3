"""Settings: read from the environment, checked, documented."""

import re
from pathlib import Path

import pytest

from persona_chat.errors import SettingsError
from persona_chat.settings import PREFIX, TOKEN_VARIABLE, Settings, load_settings

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def variable(field: str) -> str:
    return TOKEN_VARIABLE if field == "token" else f"{PREFIX}{field.upper()}"


def test_every_setting_is_documented_with_its_default_and_what_the_code_says() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.*?) \| (.*) \|$", (ROOT / "docs/settings.md").read_text(), re.MULTILINE)
    documented = {name: (default, text) for name, default, text in rows}
    expected = {}
    for field, info in Settings.model_fields.items():
        default = info.get_default()
        shown = "" if default in (None, ()) else f"`{str(default).lower() if isinstance(default, bool) else default}`"
        expected[variable(field)] = (shown if field != "data_dir" else "the user's data folder", info.description)
    assert documented == expected


def test_values_come_from_the_environment_and_from_a_file_env(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text(f"{TOKEN_VARIABLE}=from-file\n{PREFIX}THREADS=3\n{PREFIX}ADAPTER=\n")
    monkeypatch.setenv(f"{PREFIX}THREADS", "2")
    settings = load_settings()
    assert settings.token is not None
    assert settings.token.get_secret_value() == "from-file"
    assert settings.threads == 2
    assert settings.adapter is None


def test_an_empty_line_means_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", "")
    monkeypatch.setenv(f"{PREFIX}LOG_LEVEL", "")
    settings = load_settings()
    assert settings.data_dir.is_absolute()
    assert settings.log_level == "INFO"


def test_a_file_env_that_is_no_text_is_said(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"\xff\xfe")
    with pytest.raises(SettingsError, match=r"\.env"):
        load_settings()


def test_lists_have_commas_between(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}ADMIN_IDS", "1, 22,")
    monkeypatch.setenv(f"{PREFIX}TRAINING_DATA", "owner/name, /data/own.jsonl")
    settings = load_settings()
    assert settings.admin_ids == (1, 22)
    assert settings.training_data == ("owner/name", "/data/own.jsonl")
    monkeypatch.setenv(f"{PREFIX}ADMIN_IDS", "Olive")
    with pytest.raises(SettingsError, match=f"{PREFIX}ADMIN_IDS"):
        load_settings()


def test_options_of_the_command_line_come_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", "/elsewhere")
    assert load_settings(data_dir=tmp_path, base=None).data_dir == tmp_path


def test_a_wrong_value_is_named_by_its_variable_and_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(f"{PREFIX}TEMPERATURE", "secret-by-mistake")
    monkeypatch.setenv(f"{PREFIX}QUEUE_SIZE", "0")
    with pytest.raises(SettingsError) as error:
        load_settings()
    assert f"{PREFIX}TEMPERATURE" in str(error.value)
    assert f"{PREFIX}QUEUE_SIZE" in str(error.value)
    assert "secret-by-mistake" not in str(error.value)


def test_a_persona_must_leave_room_for_talk() -> None:
    with pytest.raises(SettingsError, match="must leave at least 128"):
        load_settings(context_tokens=512, persona_tokens=500)


def test_the_token_is_not_in_what_settings_print(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(TOKEN_VARIABLE, "canary-token")
    assert "canary-token" not in repr(load_settings())
