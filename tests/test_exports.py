"""What is kept of people is counted, and given to them to take along."""

import json

import pytest

from persona_chat import privacy as privacy_module
from persona_chat.heard import Heard
from persona_chat.persona import Persona
from persona_chat.place import Scope, Spot
from persona_chat.settings import Settings
from persona_chat.store.holdings import Held
from persona_chat.store.store import Store
from tests.people import CANARY, CHANNEL, GUS, chat_of, place

pytestmark = pytest.mark.both_databases


@pytest.mark.sqlite_only
async def test_everything_is_counted(lived: Store, settings: Settings) -> None:
    lived.claim(Heard(900, place(channel=CHANNEL + 5), "Gus", "Never answered."))
    lived.refuse(900, "EngineBusy")
    lived.claim(Heard(901, place(channel=CHANNEL + 6), "Gus", "Being answered."))
    _, privacy = chat_of(lived, settings)
    held = (await privacy.about(GUS)).held
    assert (held.messages, held.replies, held.channels, held.unanswered) == (151, 300, 2, 1)
    assert held.oldest is not None
    assert (await privacy.about(12345)).held == Held()


@pytest.mark.sqlite_only
async def test_an_export_is_json_with_everything(lived: Store, settings: Settings) -> None:
    own = lived.library.create(Spot(Scope.ME, GUS), Persona("Nemo", 'A "captain" — ünïcode\n🦜'), GUS)
    lived.library.edit(own.id, Persona("Nemo", "Another one."), GUS)
    lived.seating.seat(Spot(Scope.ME, GUS), own.id, GUS)
    lived.library.delete(lived.library.create(Spot(Scope.ME, GUS), Persona("Gone", "Deleted."), GUS).id)
    lived.answers.add(2, 1, "As I would say it.", None, {"edited_by": GUS})
    _, privacy = chat_of(lived, settings)
    await privacy.opt_out(GUS)
    export = await privacy.export(GUS)
    data = json.loads(export.content)
    assert (export.left_out, data["complete"], data["person_id"]) == (0, True, GUS)
    assert data["opted_out_at"]
    assert data["chosen_for_everywhere"]["persona"] == "Nemo"
    assert [message["message_id"] for message in data["messages"]] == list(range(1, 301, 2)), "the oldest first"
    first = data["messages"][0]
    assert first["text"] == f"{CANARY} 1 " * 2
    assert first["channel_id"] == CHANNEL
    assert first["said_at"].endswith("+00:00")
    assert [reply["text"][:9] for reply in first["replies"]] == ["You say c", "Again: ca"]
    assert first["replies"][0]["how"] == {"seed": 1, "note": f"{CANARY} 1 " * 2}
    assert {persona["revisions"][0]["persona"]["name"] for persona in data["personas"]} == {"Nemo", "Gone"}
    nemo = next(persona for persona in data["personas"] if persona["revisions"][0]["persona"]["name"] == "Nemo")
    assert [one["persona"]["about"] for one in nemo["revisions"]] == ['A "captain" — ünïcode\n🦜', "Another one."]
    assert [edit["text"] for edit in data["replies_you_rewrote"]] == ["As I would say it."]


async def test_an_export_that_is_too_large_leaves_out_the_oldest_and_says_so(
    lived: Store, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(privacy_module, "EXPORT_BYTES", 40_000)
    _, privacy = chat_of(lived, settings)
    export = await privacy.export(GUS)
    data = json.loads(export.content)
    assert len(export.content) <= 40_000
    assert export.left_out == data["left_out_because_too_large"] == 150 - len(data["messages"])
    assert not data["complete"]
    assert data["messages"][-1]["message_id"] == 299
    assert len(data["messages"]) > 20


async def test_an_export_of_somebody_unknown_is_empty(store: Store, settings: Settings) -> None:
    _, privacy = chat_of(store, settings)
    data = json.loads((await privacy.export(GUS)).content)
    assert (data["messages"], data["personas"], data["chosen_for_everywhere"]) == ([], [], None)
