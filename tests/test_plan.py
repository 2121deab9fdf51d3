"""What a retraining would do: where it learns from, what it needs, and when it is refused before it begins."""

import gzip
import json
from pathlib import Path

import pytest

from persona_chat.errors import InputError
from persona_chat.retraining.plan import Machine, Plan, describe, make_plan
from persona_chat.retraining.yardstick import own_dialogues, write_yardstick
from persona_chat.serving import Serving
from persona_chat.settings import Settings
from tests.adapter_folders import make_adapter, write_card
from tests.training_fixtures import rows, write_rows

GB = 10**9
ROOMY = Machine("cpu", 64 * GB)
PLAIN = Serving(None, None, followed=True)


def planned(settings: Settings, machine: Machine = ROOMY, serving: Serving = PLAIN, **more: object) -> Plan:
    return make_plan(settings, "embedded", serving, machine, **more)  # type: ignore[arg-type]


def test_without_settings_it_learns_from_the_projects_own_dialogues(settings: Settings) -> None:
    plan = planned(settings)
    own = own_dialogues()
    assert own is not None
    assert [source.address for source in plan.sources] == [str(own)]
    assert plan.rows == len(own.read_text().splitlines())


def test_it_learns_from_the_settings_and_from_every_file_in_the_operators_folder(settings: Settings) -> None:
    folder = settings.data_dir / "training"
    write_rows(folder / "b.jsonl", rows(30, 0))
    (folder / "a.jsonl.gz").write_bytes(gzip.compress((folder / "b.jsonl").read_bytes() + b"\n\n"))
    (folder / "c.csv").write_text('persona_b,dialogue,reference\n"[""I, too,\nam.""]",[],Yes\n[],[],No\n')
    (folder / "d.parquet").write_bytes(b"")
    for ignored in ("notes.txt", "a.jsonl.gz.source.json"):
        (folder / ignored).write_text("{}")
    (folder / "folder.jsonl").mkdir()
    plan = planned(settings.model_copy(update={"training_data": ("owner/name",)}))
    assert [(source.called, source.rows) for source in plan.sources] == [
        ("owner/name", None),
        ("a.jsonl.gz", 30),
        ("b.jsonl", 30),
        ("c.csv", 2),
        ("d.parquet", None),
    ]
    assert plan.rows is None


def test_what_a_command_names_comes_before_the_settings(settings: Settings, tmp_path: Path) -> None:
    write_rows(settings.data_dir / "training" / "b.jsonl", rows())
    file = write_rows(tmp_path / "mine.jsonl", rows(40, 0))
    plan = planned(settings, data=["mine.jsonl"], steps=7, rows=25)
    assert [source.address for source in plan.sources] == [str(file)]
    assert (plan.steps, plan.row_limit, plan.rows) == (7, 25, 25)


@pytest.mark.parametrize("address", ["missing.jsonl", "/no/such/folder/file.csv", "."])
def test_a_source_that_is_not_there_is_named(settings: Settings, address: str) -> None:
    with pytest.raises(InputError, match="there is no such file"):
        planned(settings, data=[address])


def test_a_file_of_another_kind_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "rows.txt").write_text("Hello.")
    with pytest.raises(InputError, match=r"only \.jsonl"):
        planned(settings, data=["rows.txt"])


def test_a_damaged_file_is_refused(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl.gz").write_bytes(b"no gzip")
    with pytest.raises(InputError, match="cannot be read"):
        planned(settings, data=["rows.jsonl.gz"])


def test_fewer_rows_than_the_trainer_takes_are_refused_at_once(settings: Settings, tmp_path: Path) -> None:
    write_rows(tmp_path / "few.jsonl", rows(19, 0))
    with pytest.raises(InputError, match="19 rows are too few"):
        planned(settings, data=["few.jsonl"])


def test_where_there_is_no_room_pausing_replies_is_offered(settings: Settings) -> None:
    needed = planned(settings).needed
    tight = Machine("cpu", needed - GB // 10)
    with pytest.raises(InputError, match="PERSONA_CHAT_RETRAIN_PAUSE_REPLIES=true"):
        planned(settings, tight)
    with pytest.raises(InputError, match="Stop what else runs"):
        planned(settings, Machine("cpu", needed // 2))
    with pytest.raises(InputError, match="Stop what else runs"):
        planned(settings, tight, can_pause=False)

    pausing = settings.model_copy(update={"retrain_pause_replies": True})
    plan = planned(pausing, tight)
    assert plan.pauses
    assert "Replies pause meanwhile." in describe(plan)


def test_the_last_jobs_speed_says_how_long_it_takes(settings: Settings) -> None:
    guessed, slow, slower = (planned(settings, pace=pace).seconds for pace in (None, 100.0, 200.0))
    assert guessed < slow < slower


def test_a_larger_base_needs_more_time_and_memory(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(
        json.dumps({"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16, "vocab_size": 128256})
    )
    small, large = planned(settings), make_plan(settings, str(tmp_path), PLAIN, ROOMY)
    assert large.needed > 2 * small.needed
    assert large.seconds > 2 * small.seconds


@pytest.mark.parametrize(
    ("card", "goes_on"),
    [({}, True), ({"template": "persona-ab-0"}, False), ({"base": "unsloth/Llama-3.2-1B"}, False)],
)
def test_it_begins_from_the_adapter_in_service_if_form_and_base_are_the_same(
    settings: Settings, tmp_path: Path, card: dict[str, str], goes_on: bool
) -> None:
    folder = make_adapter(tmp_path / "one")
    write_card(folder, **card)
    plan = planned(settings, serving=Serving("one", folder, followed=True))
    assert plan.init == (folder if goes_on else None)
    assert ("beginning from one" if goes_on else "beginning afresh") in "\n".join(describe(plan))


def test_a_plan_says_that_a_setting_decides_what_serves(settings: Settings) -> None:
    lines = describe(planned(settings, serving=Serving(None, None, followed=False)))
    assert any("PERSONA_CHAT_ADAPTER" in line for line in lines)


def test_the_yardstick_is_what_no_training_learns_from(tmp_path: Path) -> None:
    from training.rows import read_rows

    own = own_dialogues()
    assert own is not None
    write_yardstick(own, tmp_path / "yardstick.jsonl")
    kept = [json.loads(line) for line in (tmp_path / "yardstick.jsonl").read_text().splitlines()]
    away = [row for row in read_rows(str(own)) if row.held_out]
    assert [(row["conv_id"], row["reference"]) for row in kept] == [(row.conv_id, row.reference) for row in away]
    assert len(kept) >= 20
