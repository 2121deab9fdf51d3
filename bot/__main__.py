"""The command line `persona-chat`: the core's commands, and those that need Discord.

It stands in the outermost room because the core must not know the bot.
"""

import os
import sys
from typing import Annotated, NoReturn

import typer

from persona_chat import cli
from persona_chat.cli import app
from persona_chat.errors import InputError
from persona_chat.options import DataDir


@app.command()
def run(data_dir: DataDir = None) -> None:
    """Run the bot on Discord. The token comes from DISCORD_TOKEN or a file `.env`."""
    from bot.run import run_bot
    from persona_chat.settings import load_settings

    run_bot(load_settings(data_dir=data_dir))


@app.command()
def demo(
    data_dir: DataDir = None,
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="The page's port; 0 takes a free one.")] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open the page in a browser.")] = True,
) -> None:
    """Talk to the bot in a page on this machine: no token, no GPU, no network."""
    from persona_chat.settings import load_settings

    try:
        from bot.demo import run_demo
    except ModuleNotFoundError as error:
        raise InputError(f'The demo needs {error.name}: pip install -c constraints.txt -e ".[demo]"') from None
    run_demo(load_settings(data_dir=data_dir), port=port, browser=browser)


def _hand_over(context: typer.Context) -> None:
    """Become `python -m training`: the trainer is a program of its own, and no room imports it."""
    command = context.command.name or ""
    os.execv(sys.executable, [sys.executable, "-m", "training", command, *context.args])  # noqa: S606


# Options and `--help` are the trainer's own.
_PASSED_ON = {"allow_extra_args": True, "ignore_unknown_options": True, "help_option_names": []}


@app.command(context_settings=_PASSED_ON)
def train(context: typer.Context) -> None:
    """Fine-tune an adapter on rows of dialogue; `persona-chat train --help` lists the options."""
    _hand_over(context)


@app.command(context_settings=_PASSED_ON)
def evaluate(context: typer.Context) -> None:
    """Measure how well an adapter plays personas; `persona-chat evaluate --help` lists the options."""
    _hand_over(context)


def main() -> NoReturn:
    """Run a command."""
    cli.main(app)


if __name__ == "__main__":
    main()
