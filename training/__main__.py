"""`python -m training`: train an adapter, evaluate one. A program of its own: a crash of it stays out of the bot."""

import sys

from training.tied import end_with_standard_input


def main() -> None:
    """Do what the command line says."""
    if "--tied" in sys.argv:
        # Before all that is read now: on a busy machine that takes longer than an orphan may live.
        end_with_standard_input()

    import typer

    from persona_chat import cli
    from training import evaluate_command, train_command

    app = typer.Typer(
        name="python -m training",
        help="Train adapters and measure them.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.command("train")(train_command.command)
    app.command("evaluate")(evaluate_command.evaluate)
    cli.main(app)


if __name__ == "__main__":
    main()
