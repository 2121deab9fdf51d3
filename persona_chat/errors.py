"""Everything that can go wrong in a way a person should hear about.

The text of each error is fit to be shown: what happened, and what to do. Nothing else is shown to people. It is in the
language of whoever it is raised for, or in English with values to be put in: then it is looked up when it is shown, so
that the model's thread, which speaks to nobody, can raise it.

PersonaChatError
├── InputError             what was typed or given cannot be used
│   ├── PersonaTooLong     a persona that does not fit the prompt budget
│   ├── NameTaken          there is a persona of that name already
│   ├── PersonaGone        a persona that was deleted meanwhile
│   ├── AgeRestricted      a persona for adults, where others may be
│   └── CardRefused        a character card that cannot be read
├── SettingsError          a setting is missing or wrong
├── TrainingFailed         a training ended without an adapter
├── EngineLost             the model cannot be begun again in this process
├── CannotAnswer           a message that gets a polite line instead of a reply
│   ├── EngineBusy         too many are waiting
│   ├── EngineResting      the model is away while something is trained
│   ├── ReplyTimeout       the deadline passed before there was a reply
│   ├── EngineFailed       the model thread failed or is gone
│   ├── Filtered           a word that the server's filter stops
│   ├── GaveUp             the bot went down over this message several times
│   └── Stopped            somebody ended the reply, or took the question back
└── CannotStart            the bot cannot run here as it is
    ├── TokenMissing
    ├── TokenRejected
    ├── IntentMissing
    ├── DiscordUnreachable
    ├── GatewayRefused     Discord will not have a bot with these settings, or of this version
    ├── DataFolderUnusable
    ├── AlreadyRunning     another process holds the data folder
    ├── DatabaseTooNew
    ├── DatabaseUnusable
    │   └── WordsUnreadable    what is encrypted was changed
    ├── KeyMissing
    ├── BaseUnavailable
    └── AdapterRefused
"""

import traceback
from collections.abc import Callable
from typing import ClassVar

from persona_chat.language import N_, _, grouped


class PersonaChatError(Exception):
    """An error whose text may be shown to a person. `exit_code` is what the command line ends with."""

    exit_code: ClassVar[int] = 1

    def __init__(self, text: str = "", **values: int | float | str) -> None:
        super().__init__(text)
        self._values = values

    def __str__(self) -> str:
        return self.said(str)

    def said(self, plain: Callable[[str], str]) -> str:
        """Return the text. What people typed, as names, is a value in it: `plain` takes its formatting away."""
        text = _(self.args[0])
        if not self._values:
            return text
        values = self._values.items()
        shown = {name: plain(value) if isinstance(value, str) else value for name, value in values}
        return text.format(
            **{name: grouped(value) if isinstance(value, int) else value for name, value in shown.items()}
        )


class InputError(PersonaChatError):
    """What was typed or given cannot be used; nothing was changed."""

    exit_code = 2


class PersonaTooLong(InputError):  # noqa: N818  it reads as what happened
    """The persona alone takes more of the prompt than it may."""

    def __init__(self, tokens: int, allowed: int) -> None:
        super().__init__(
            N_(
                "This persona takes {tokens} tokens and {allowed} fit. "
                "Shorten what it is about, or leave out some facts."
            ),
            tokens=tokens,
            allowed=allowed,
        )
        self.tokens = tokens
        self.allowed = allowed


class NameTaken(InputError):  # noqa: N818
    """A server, or a person, has a persona of that name already."""

    def __init__(self, name: str) -> None:
        super().__init__(
            N_("There is a persona called {name} already. Choose another name, or edit that one."), name=name
        )


class PersonaGone(InputError):  # noqa: N818
    """A persona was deleted since it was chosen."""

    def __init__(self) -> None:
        super().__init__(N_("That persona is not there any more. `/persona list` shows who is."))


class AgeRestricted(InputError):  # noqa: N818
    """An age-restricted persona is wanted where Discord does not ask for people's age."""

    def __init__(self, name: str) -> None:
        super().__init__(
            N_("{name} only talks in channels that are age-restricted in Discord's channel settings."), name=name
        )


class CardRefused(InputError):  # noqa: N818
    """A character card cannot be read, or says nothing that a persona could be made of."""


class SettingsError(PersonaChatError):
    """A setting has a value that cannot be used."""

    exit_code = 2


class TrainingFailed(PersonaChatError):  # noqa: N818
    """A training ended without an adapter; the text says why."""

    exit_code = 12


class EngineLost(PersonaChatError):  # noqa: N818
    """The model hangs or dies each time it is begun again, or its device is lost to us; a new process may help."""

    exit_code = 70

    def __init__(self) -> None:
        super().__init__("The model could not be begun again, for reasons that are in the log. Start the bot again.")


class CannotAnswer(PersonaChatError):  # noqa: N818
    """This message gets a polite line instead of a reply."""


class EngineBusy(CannotAnswer):
    """The bounded queue in front of the model is full."""

    def __init__(self) -> None:
        super().__init__(N_("I am talking to a lot of people right now. Please try again in a moment."))


class EngineResting(CannotAnswer):
    """The model was let go of, to make room for a retraining."""

    def __init__(self) -> None:
        super().__init__(N_("I am learning right now and cannot talk meanwhile. Please come back later."))


class ReplyTimeout(CannotAnswer):
    """The deadline passed before the reply was there."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            N_("I could not find an answer within {seconds} seconds. Please try again."), seconds=f"{seconds:g}"
        )


class EngineFailed(CannotAnswer):
    """The model thread failed on this reply, or is gone."""

    def __init__(self) -> None:
        super().__init__(N_("Something went wrong while I was thinking. Please try again."))


class Filtered(CannotAnswer):
    """A word that the server's filter stops would be said. The text does not name it; `listed` says of which list."""

    def __init__(self, line: str, listed: str) -> None:
        super().__init__(line)
        self.listed = listed


class GaveUp(CannotAnswer):
    """To answer a message was begun several times, and the bot went down each time."""

    def __init__(self) -> None:
        super().__init__(N_("I could not answer that: I stumbled over it several times. Please say it in other words."))


class Stopped(CannotAnswer):
    """Somebody ended the reply before there was a word of it, or took the question back. Nothing is said."""

    def __init__(self) -> None:
        super().__init__(N_("Stopped."))


class CannotStart(PersonaChatError):  # noqa: N818
    """The bot cannot run here as things are."""


class TokenMissing(CannotStart):
    """No Discord token was given."""

    exit_code = 3


class TokenRejected(CannotStart):
    """Discord does not accept the token."""

    exit_code = 4


class IntentMissing(CannotStart):
    """The application does not have a privileged intent that the settings ask for."""

    exit_code = 5


class DataFolderUnusable(CannotStart):
    """The data folder cannot be made or written to."""

    exit_code = 6


class AlreadyRunning(CannotStart):
    """Another process holds the data folder."""

    exit_code = 15


class DatabaseTooNew(CannotStart):
    """The database was made by a newer version."""

    exit_code = 7


class BaseUnavailable(CannotStart):
    """The base model cannot be had."""

    exit_code = 8


class AdapterRefused(CannotStart):
    """The adapter folder did not pass its checks."""

    exit_code = 9


class DatabaseUnusable(CannotStart):
    """The database cannot be opened, is damaged, or is locked by someone else."""

    exit_code = 10


class KeyMissing(CannotStart):
    """What people said is encrypted under a key that is not there."""

    exit_code = 16

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"What people said is encrypted under the key {key_id}, and that is not there. Put your backup of the file "
            "`key` in the data folder, or name it with PERSONA_CHAT_KEY_FILE or PERSONA_CHAT_KEYS. Nothing was changed."
        )


class WordsUnreadable(DatabaseUnusable):
    """Something that is encrypted was changed, or moved from where it was."""

    def __init__(self, column: str) -> None:
        super().__init__(
            f"Something in {column} cannot be decrypted: the database was damaged, or changed by another program. "
            "Put the newest backup in its place."
        )


class DiscordUnreachable(CannotStart):
    """Discord could not be reached at all."""

    exit_code = 11


class GatewayRefused(CannotStart):
    """Discord closed the connection for a reason that another try would not change."""

    exit_code = 13


def trace(error: BaseException) -> str:
    """Return an error's type and its place in the code, fit for a log.

    Its message is left out: it may quote what people wrote, or a database's row.
    """
    return f"{type(error).__name__}\n{''.join(traceback.format_tb(error.__traceback__))}"
