"""Deletes again what was deleted: after a restore, and where a deletion was cut off."""

from collections.abc import Iterable
from contextlib import suppress

from persona_chat.errors import NameTaken, PersonaGone
from persona_chat.store.ledger import Deletion
from persona_chat.store.store import Store


def redo(store: Store, deletions: Iterable[Deletion]) -> int:
    """Do these deletions, in their order, by the store's verbs; return how many there were. Twice is no error."""
    total = 0
    for deletion in deletions:
        total += 1
        match deletion.what:
            case "forgotten":
                for person_id in deletion.ids:
                    store.people.forget(person_id)
            case "opted out":
                for person_id in deletion.ids:
                    store.people.opt_out(person_id)
            case "opted in":
                for person_id in deletion.ids:
                    store.people.opt_in(person_id)
            case "deleted":
                store.answers.delete(deletion.ids)
            case "channels gone":
                store.people.forget_places(deletion.ids)
            case "server gone":
                server_id, *channels = deletion.ids
                store.people.forget_places(channels, server_id)
            case "cleared" if deletion.before is not None:
                while store.people.forget_before(deletion.before):
                    pass
                store.reports.forget_before(deletion.before)
            case "persona deleted" | "persona restored" | "notes taken away":
                _of_a_persona(store, deletion)
            case "thumb taken back":
                message_id, person_id, *numbers = deletion.ids
                store.feedback.let_go(message_id, person_id, numbers, "verdict", deletion.at)
            case "suggestion taken back":
                message_id, person_id, *numbers = deletion.ids
                store.feedback.let_go(message_id, person_id, numbers, "suggestion", deletion.at)
    if total:
        store.people.scrub(whole=True)
    return total


def _of_a_persona(store: Store, deletion: Deletion) -> None:
    """Personas have ids of the database, which are used again after a restore: a younger one is another one."""
    *channels, persona_id = deletion.ids
    if not store.library.is_from_before(persona_id, deletion.at):
        return
    if deletion.what == "persona deleted":
        store.library.delete(persona_id)
    elif deletion.what == "persona restored":
        with suppress(NameTaken, PersonaGone):
            store.library.restore(persona_id)
    else:
        store.memories.let_go(channels[0], persona_id, deletion.at)


def finish_deletions(store: Store) -> int:
    """Finish the deletions that were cut off when a process ended; return how many there were."""
    count = redo(store, store.ledger.cut_off())
    if count:
        store.ledger.finish()
    return count
