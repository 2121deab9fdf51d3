"""Whether an adapter fits a base, as far as that can be told without the model. The engine tells the rest."""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from persona_chat.adapters import CONFIG, Adapter, read_adapter, refuse
from persona_chat.bases import EMBEDDED, config_of, is_hub_id, lora_shapes, same_base
from persona_chat.engine import embedded


def check_whole(folder: Path, base: str) -> Adapter:
    """Read an adapter and check all that can be checked without the model. Raises AdapterRefused.

    Its tensors are compared with the base's where the base's config.json is at hand.
    """
    adapter = read_adapter(folder)
    check_base(adapter, base)
    if adapter.made_for is not None and not _may_be(adapter.made_for, adapter, base):
        refuse(
            folder,
            f"it was made for the base {adapter.made_for}, and {base} is the one here. Where they are the same, say "
            f"so in `base_model_name_or_path` of its {CONFIG}.",
        )
    config = config_of(base)
    shapes = lora_shapes(config, adapter.target_modules, adapter.rank) if config is not None else None
    if shapes is not None:
        check_shapes(adapter, shapes)
    return adapter


def check_base(adapter: Adapter, base: str) -> None:
    """Raise AdapterRefused when the adapter's card was written for another base than `base`, or for other weights."""
    if adapter.base is not None and not same_base(adapter.base, base):
        refuse(
            adapter.folder,
            f"it was trained on the base {adapter.base}, and {base} is the one here. Choose another adapter "
            f"(`persona-chat adapters use NAME`, or `none`), or set PERSONA_CHAT_BASE={adapter.base}.",
        )
    if adapter.base_sha256 is not None and (here := base_sha256(base)) is not None and here != adapter.base_sha256:
        refuse(adapter.folder, f"it was trained on the base {base} with other weights than those here.")


def check_shapes(adapter: Adapter, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raise AdapterRefused unless the adapter's tensors are those of `shapes`, which fit the base."""
    for key in sorted(shapes.keys() ^ adapter.shapes.keys()):
        side = "lacks" if key in shapes else "has, and the base does not,"
        refuse(adapter.folder, f"it does not fit the base: it {side} {key}.")
    for key, shape in shapes.items():
        if adapter.shapes[key] != shape:
            has = f"{key} is {list(adapter.shapes[key])} instead of {list(shape)}"
            refuse(adapter.folder, f"it does not fit the base: {has}.")


@cache
def base_sha256(base: str) -> str | None:
    """Return a hash of the base's weights where they lie here, None for a hub id.

    Of the embedded model it is that of its file in the package, of a folder that of its files' hashes by name.
    """
    if base == EMBEDDED:
        return embedded.source_sha256()
    folder = Path(base).expanduser()
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")):
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def _may_be(made_for: str, adapter: Adapter, base: str) -> bool:
    """Whether an adapter whose config names one base can be for the other.

    A folder's name says nothing, wherever it was: there the card tells, or the sizes of the tensors.
    """
    if same_base(made_for, base):
        return True
    if is_hub_id(made_for):
        return Path(base).is_dir() and not same_base(made_for, EMBEDDED)
    return adapter.base is not None or Path(base).is_dir()
