"""llama.cpp behind the engine that asks servers: its own server on loopback, with the embedded model's GGUF file.

The adapter is written as GGUF for it, as llama.cpp's converter does.
"""

import math
import tempfile
from pathlib import Path
from typing import Any

from persona_chat.adapters import Adapter, read_adapter
from persona_chat.bases import EMBEDDED
from persona_chat.engine import base, embedded
from persona_chat.engine.cores import available_cores
from persona_chat.engine.remote import RemoteEngine
from persona_chat.engine.reply import Reply, ReplyRequest
from persona_chat.errors import BaseUnavailable, InputError
from persona_chat.settings import Settings

_NAMES = {
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}
ROWS = 16
PATIENCE_S = 600.0
"""It is only measured: sixteen long prompts at once may keep it silent for more than a minute."""


class LlamaCpp:
    """llama.cpp's server in this process, asked over loopback."""

    def __init__(self, settings: Settings, adapter: Path | None) -> None:
        """Start nothing yet. Raises InputError when the base is not the embedded one, or the package is missing."""
        if base.name_of(settings) != EMBEDDED:
            raise InputError("llama.cpp is measured with the embedded model only. Set PERSONA_CHAT_BASE=embedded.")
        try:
            import xllamacpp
        except ImportError:
            raise InputError("llama.cpp is not installed. Get it with: pip install 'persona-chat[llamacpp]'") from None
        self._library = xllamacpp
        self._settings = settings
        self._adapter = adapter
        self._server: Any = None
        self._engine: RemoteEngine | None = None

    async def start(self) -> None:
        """Start the server."""
        params = self._library.CommonParams()
        params.model.path = str(embedded.source_file())
        params.n_parallel = ROWS
        params.n_ctx = ROWS * (self._settings.context_tokens + self._settings.max_new_tokens)
        threads = self._settings.threads or available_cores()
        params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
        params.hostnames, params.port, params.verbosity = ["127.0.0.1"], 0, 0
        if self._adapter is not None:
            with tempfile.TemporaryDirectory() as folder:
                file = Path(folder) / "adapter.gguf"
                write_adapter(read_adapter(self._adapter), self._settings, file)
                params.lora_adapters = [self._library.CommonAdapterLoraInfo(str(file), 1.0)]
                self._server = self._library.Server(params)
        else:
            self._server = self._library.Server(params)
        served = {"engine": "remote", "server_url": f"{self._server.listening_address}/v1"}
        self._engine = RemoteEngine(self._settings.model_copy(update=served), silent_s=PATIENCE_S)
        await self._engine.start()

    async def reply(self, request: ReplyRequest) -> Reply:
        """Answer."""
        if self._engine is None:
            raise BaseUnavailable("The server was not started.")
        return await self._engine.reply(request)

    async def close(self) -> None:
        """End the server."""
        if self._engine is not None:
            await self._engine.close()
        self._server = None


def write_adapter(adapter: Adapter, settings: Settings, file: Path) -> None:
    """Write the adapter as llama.cpp reads it: rows of queries and keys in its order of rotation."""
    import gguf
    import torch
    from safetensors.torch import load_file
    from transformers import AutoConfig

    choice = base.choose(settings)
    config = AutoConfig.from_pretrained(base.folder_of(choice, settings.data_dir))
    heads = {"self_attn.q_proj": config.num_attention_heads, "self_attn.k_proj": config.num_key_value_heads}
    writer = gguf.GGUFWriter(str(file), "llama")
    writer.add_string("general.type", "adapter")
    writer.add_string("adapter.type", "lora")
    scaled = adapter.alpha * (math.sqrt(adapter.rank) if adapter.rank_stabilized else 1)
    writer.add_float32("adapter.lora.alpha", float(scaled))
    for key, tensor in load_file(str(adapter.weights)).items():
        layer, name, half = _parts(key)
        values = tensor.to(torch.float32).numpy()
        if half == "b" and name in heads:
            count, (rows, rank) = heads[name], values.shape
            values = values.reshape(count, 2, rows // count // 2, rank).swapaxes(1, 2).reshape(rows, rank)
        writer.add_tensor(f"blk.{layer}.{_NAMES[name]}.weight.lora_{half}", values.copy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _parts(key: str) -> tuple[int, str, str]:
    """Return layer, projection and half of a tensor `base_model.model.model.layers.N.….lora_A.weight`."""
    _, _, rest = key.partition(".layers.")
    layer, _, rest = rest.partition(".")
    name, _, half = rest.removesuffix(".weight").rpartition(".lora_")
    return int(layer), name, half.lower()
