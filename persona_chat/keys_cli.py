"""`persona-chat db rotate-key`: a new key for what people said."""

import typer

from persona_chat.options import DataDir, database_url, settings_of


def rotate_key(data_dir: DataDir = None) -> None:
    """Make a new key and encrypt what people said under it. The bot must be stopped; cut off, call it again."""
    from persona_chat.instance import only_one_in
    from persona_chat.keyring import rotate
    from persona_chat.store.schema import upgrade

    settings = settings_of(data_dir=data_dir)
    url = database_url(settings)
    with only_one_in(settings.data_dir):
        upgrade(url)
        keys, changed = rotate(settings, url)
    typer.echo(f"Everything is encrypted under the key {keys.all[0].id} now ({changed} rows were changed).")
    if len(keys.all) > 1:
        typer.echo(
            "The older keys stay where they are: backups from before need them. When those backups are gone, "
            "delete every key but the first."
        )
    typer.echo("Make a new copy of the keys and keep it elsewhere.")
