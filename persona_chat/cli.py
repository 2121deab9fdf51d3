"""The commands that need no Discord: prompt, reply, doctor, db, adapters. The bot's join them in bot/__main__.py.

Everything heavy is imported inside a command, so that `--help` and the database commands start at once.
"""

import asyncio
import json
import os
import sys
import threading
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer

from persona_chat import __version__, adapters_cli, bench_cli, feedback_cli, keys_cli, replay_cli, retrain_cli
from persona_chat.engine.thread import THREAD_NAME
from persona_chat.errors import InputError, PersonaChatError, trace
from persona_chat.options import Base, DataDir, database_url, loading, settings_of

if TYPE_CHECKING:
    from persona_chat.engine.reply import Reply, ReplyRequest
    from persona_chat.settings import Settings

app = typer.Typer(
    name="persona-chat",
    help="A self-hosted Discord bot that plays personas with its own fine-tuned model.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
db = typer.Typer(help="Bring the database up to date, or see whether it is.", no_args_is_help=True)
db.command("rotate-key")(keys_cli.rotate_key)
app.add_typer(db, name="db")
app.add_typer(adapters_cli.app, name="adapters")
app.command()(retrain_cli.retrain)
app.command()(bench_cli.bench)
app.command()(replay_cli.replay)
app.command()(feedback_cli.feedback)

Adapter = Annotated[
    str | None,
    typer.Option(
        "--adapter", help="A folder with a LoRA adapter, a name of the registry, or `none`.", show_default=False
    ),
]
ExampleFile = Annotated[
    str,
    typer.Argument(
        metavar="FILE", help="A JSON file with `about`, `persona_b` and `dialogue`; `-` for standard input."
    ),
]


def main(commands: typer.Typer = app) -> NoReturn:
    """Run a command. What a person can mend ends in one message and its exit code, never in a traceback."""
    try:
        code = _run(commands)
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read our output (`| head`) is gone; nothing is left to say, also not at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = 0
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        code = _say(f"{error.filename or 'the output'} cannot be written or read ({error.strerror}).", 74)
    # Python waits at its end for threads in the middle of torch and may abort in them; ours has nothing to save.
    if any(thread.name == THREAD_NAME for thread in threading.enumerate()):
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def _run(commands: typer.Typer) -> int:
    try:
        commands()
    except SystemExit as end:  # how typer ends
        return end.code if isinstance(end.code, int) else 0
    except KeyboardInterrupt:
        return 130
    except PersonaChatError as error:
        return _say(str(error), error.exit_code)
    except OSError:
        raise
    except Exception as error:
        if os.environ.get("PERSONA_CHAT_LOG_LEVEL") == "DEBUG":
            typer.echo(trace(error), err=True)
        unforeseen = f"something unforeseen went wrong ({type(error).__name__}). "
        return _say(f"{unforeseen}PERSONA_CHAT_LOG_LEVEL=DEBUG shows where; please report it.", 70)
    return 0


def _say(line: str, code: int) -> int:
    typer.echo(f"persona-chat: {line}", err=True)
    return code


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"persona-chat {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")
    ] = False,
) -> None:
    pass


@app.command()
def prompt(file: ExampleFile, base: Base = None, data_dir: DataDir = None) -> None:
    """Print exactly the text the model gets for FILE, the cue included."""
    settings = settings_of(base=base, data_dir=data_dir)
    request = _request(file, settings)
    # Written as bytes: the console's own encoding must not change a prompt.
    sys.stdout.buffer.write(asyncio.run(_prompt(settings, request)).encode())
    sys.stdout.buffer.flush()


@app.command()
def reply(
    file: ExampleFile,
    base: Base = None,
    adapter: Adapter = None,
    greedy: Annotated[bool, typer.Option("--greedy", help="Take the likeliest word every time.")] = False,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="The same seed draws the same reply.")
    ] = None,
    max_new_tokens: Annotated[
        int | None, typer.Option("--max-new-tokens", min=1, max=512, help="The longest reply, in tokens.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print token counts and times as well, as JSON.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Print Person B's reply to FILE, and nothing else."""
    settings = settings_of(
        base=base,
        adapter=adapter,
        data_dir=data_dir,
        max_new_tokens=max_new_tokens,
        temperature=0.0 if greedy else None,
    )
    request = _request(file, settings)
    request = replace(request, sampling=replace(request.sampling, seed=seed))
    answer, facts = asyncio.run(_reply(settings, request))
    typer.echo(json.dumps({**facts, **_as_json(answer)}, ensure_ascii=False) if as_json else answer.text)


@app.command()
def doctor(data_dir: DataDir = None) -> None:
    """Show what is there and what is not; exit 1 when the bot could not start."""
    from persona_chat.doctor import examine, show

    findings = examine(settings_of(data_dir=data_dir))
    show(findings)
    raise typer.Exit(1 if any(finding.stops_the_bot for finding in findings) else 0)


@db.command()
def upgrade(data_dir: DataDir = None) -> None:
    """Bring the database up to date, after a checked backup."""
    from persona_chat.store import schema

    done = schema.upgrade(database_url(settings_of(data_dir=data_dir)))
    if done.before == done.after:
        typer.echo(f"The database is up to date ({done.after}).")
        return
    typer.echo(f"The database went from {done.before or 'empty'} to {done.after}.")
    if done.backup is not None:
        typer.echo(f"What was there before: {done.backup}")


@db.command()
def check(data_dir: DataDir = None) -> None:
    """Say whether the database is up to date; exit 1 when it is not."""
    from persona_chat.store import schema

    state = schema.check(database_url(settings_of(data_dir=data_dir)))
    typer.echo(schema.describe(state))
    raise typer.Exit(0 if state.standing == "up to date" else 1)


async def _prompt(settings: "Settings", request: "ReplyRequest") -> str:
    from persona_chat.engine.choice import engine_for

    with loading("Reading the tokenizer") as progress:
        engine = engine_for(settings, adapter=_adapter(settings), progress=progress)
        try:
            await engine.check_persona(request.persona)
            return (await engine.prompt(request)).text
        finally:
            await engine.close()


async def _reply(settings: "Settings", request: "ReplyRequest") -> "tuple[Reply, dict[str, Any]]":
    from persona_chat.engine.choice import engine_for

    with loading("Loading the model") as progress:
        engine = engine_for(settings, adapter=_adapter(settings), progress=progress)
        try:
            facts = await engine.start()
            await engine.check_persona(request.persona)
            return await engine.reply(request), asdict(facts)
        finally:
            await engine.close()


def _adapter(settings: "Settings") -> Path | None:
    """Return the folder of the adapter that the bot would serve."""
    from persona_chat.serving import to_serve

    return to_serve(settings, database_url(settings)).folder


def _as_json(answer: "Reply") -> dict[str, Any]:
    return {name: round(value, 4) if isinstance(value, float) else value for name, value in asdict(answer).items()}


def _request(file: str, settings: "Settings") -> "ReplyRequest":
    """Read FILE; every way in which it cannot be used is an InputError that says where."""
    from persona_chat.engine.reply import ReplyRequest
    from persona_chat.template import read_example

    name = "standard input" if file == "-" else file
    try:
        raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
        persona, dialogue = read_example(json.loads(raw.decode("utf-8-sig")))
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file.") from None
    except OSError as error:
        raise InputError(f"{name}: cannot be read ({error.strerror}).") from None
    except UnicodeDecodeError:
        raise InputError(f"{name}: is not UTF-8 text.") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{name}: is not JSON (line {error.lineno}: {error.msg}).") from None
    except ValueError:
        raise InputError(f"{name}: holds a number that is too long.") from None
    except RecursionError:
        raise InputError(f"{name}: is nested too deeply.") from None
    except InputError as error:
        raise InputError(f"{name}: {error}") from None
    return ReplyRequest(persona, dialogue, settings.sampling, settings.deadline_s)
