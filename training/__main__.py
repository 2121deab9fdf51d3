"""`python -m training`: the trainer and the evaluator."""

import typer

from persona_chat import cli
from training.evaluate_command import evaluate

app = typer.Typer(
    name="training",
    help="Train adapters and measure them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(evaluate)


@app.callback()
def _program() -> None:
    """Make `evaluate` a command also while it is the only one."""


if __name__ == "__main__":
    cli.main(app)
