"""Every knob, its default and why. Built once in `main` and handed down; nothing reads the environment later.

Values come from the environment (`PERSONA_CHAT_…`, and `DISCORD_TOKEN`) or from a file `.env` in the folder
where the bot is started.
"""

from pathlib import Path
from typing import Annotated, Literal, Self

from platformdirs import user_data_path
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from persona_chat.engine.reply import Sampling
from persona_chat.errors import SettingsError

PREFIX = "PERSONA_CHAT_"
TOKEN_VARIABLE = "DISCORD_TOKEN"  # noqa: S105  the name of the variable, not a token

Listed = Annotated[tuple[str, ...], NoDecode]
"""Texts with commas between them; without NoDecode a variable would have to hold JSON."""


class Settings(BaseSettings):
    """The settings of one process. docs/settings.md lists the same, and a test compares them."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_file=".env",
        env_ignore_empty=True,  # a line `PERSONA_CHAT_ADAPTER=` means that it is not set
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    token: SecretStr | None = Field(
        None,
        validation_alias=TOKEN_VARIABLE,
        description="The bot's token, from Discord's developer portal. Only `run` needs it.",
    )
    data_dir: Path = Field(
        default_factory=lambda: user_data_path("persona-chat", appauthor=False),
        description="Where the database, its backups and the converted model live. A local disk.",
    )
    database_url: str | None = Field(
        None,
        description="An SQLAlchemy URL. Without it, an SQLite file in the data folder.",
    )
    encrypt: bool = Field(
        True,
        description="Keep what people say encrypted in the bot's database (AES-256-GCM); `false` keeps it plain. "
        "Changed, what is there follows at the next start of `run`.",
    )
    key_file: Path | None = Field(
        None,
        description="The file with the keys for that. Without it, `key` in the data folder, which `run` makes. Keep a "
        "copy elsewhere: without the key nobody can read what was said.",
    )
    keys: SecretStr | None = Field(
        None,
        description="The keys themselves, with commas between, instead of a file: each 32 bytes in base64. The first "
        "one encrypts, the others read what is older.",
    )
    engine: Literal["local", "remote"] = Field(
        "local",
        description="Where replies are written: `local` in this process, `remote` by a server that speaks OpenAI's "
        "`/v1/completions`.",
    )
    server_url: str | None = Field(
        None, description="The server of the `remote` engine, such as `http://127.0.0.1:8000/v1`."
    )
    server_key: SecretStr | None = Field(None, description="The key that the server asks for, if it asks for one.")
    server_model: str | None = Field(
        None, description="What the server calls the base. Without it, the first model that it lists."
    )
    server_adapters: Literal["named", "vllm"] = Field(
        "named",
        description="How the server comes to an adapter: `named`, it serves it already under the adapter's versioned "
        "name; `vllm`, it is told to load its folder.",
    )
    server_prompts: Literal["tokens", "text"] = Field(
        "tokens",
        description="How prompts are sent: as `tokens`, or as `text` to a server that takes none (Ollama, LM Studio).",
    )
    base: str = Field(
        "auto",
        description="The base model: a hub id, a folder, or `embedded` (SmolLM2-135M-Instruct, in a Python "
        "package). `auto` is unsloth/Llama-3.2-1B on CUDA and `embedded` elsewhere.",
    )
    adapter: str | None = Field(
        None,
        description="The adapter that serves, whichever `persona-chat adapters use` chose: a folder with a PEFT LoRA "
        "adapter (safetensors), a name of the registry, or `none`.",
    )
    precision: Literal["auto", "nf4", "bf16", "fp32"] = Field(
        "auto",
        description="How the base's weights are held. `auto` is nf4 (4-bit) on CUDA and on CPUs with "
        "AVX512-BF16, where it is fast; else bf16 where the CPU computes in it, else fp32.",
    )
    threads: int | None = Field(
        None,
        ge=1,
        description="Threads of the model's arithmetic. Without it, as many as cores.",
    )
    context_tokens: int = Field(
        1024,
        ge=256,
        le=8192,
        description="How many tokens a prompt may have: header, persona and the newest turns that fit. Longer "
        "remembers more and answers later.",
    )
    persona_tokens: int = Field(
        640,
        ge=128,
        description="How many of them a persona may take, header included. The rest is room for talk.",
    )
    max_new_tokens: int = Field(80, ge=1, le=512, description="The longest reply. The data's replies have about 14.")
    temperature: float = Field(0.7, ge=0, le=2, description="How freely words are drawn; 0 always takes the likeliest.")
    top_p: float = Field(0.9, gt=0, le=1, description="Only the likeliest words that together reach this share.")
    top_k: int = Field(64, ge=1, le=64, description="Only so many of the likeliest words; 64 is the most there is.")
    min_p: float = Field(
        0, ge=0, lt=1, description="Leaves out words that are less likely than this share of the likeliest one."
    )
    repetition_penalty: float = Field(
        1.1,
        ge=1,
        le=2,
        description="Makes words the reply already has less likely. The prompt's words are free: facts are "
        "there to be repeated.",
    )
    batch: int | None = Field(
        None,
        ge=1,
        le=256,
        description="How many replies are written at once. Without it, 8 on a CPU and 32 on a GPU.",
    )
    cache_mb: int = Field(
        256,
        ge=0,
        description="How many megabytes the model may keep of what it has read, so that a channel's next reply "
        "begins sooner. What was used least recently goes first.",
    )
    queue_size: int = Field(
        32, ge=1, description="How many replies may wait for the model; further ones get a polite line."
    )
    channel_queue: int = Field(
        25, ge=1, description="How many messages of one channel may wait; further ones get a polite line."
    )
    burst_s: float = Field(
        0.5,
        ge=0,
        le=10,
        description="Seconds to wait whether the person goes on: what is said until the reply is there is answered "
        "together. 0 answers each message by itself.",
    )
    deadline_s: float = Field(
        60, gt=0, le=600, description="Seconds the model may take for a reply, waiting for the model included."
    )
    history_turns: int = Field(
        120, ge=2, description="How many past turns are read from the database for the window to choose from."
    )
    memory: bool = Field(
        True,
        description="Put what a persona told of itself in turns that do not fit the window any more into the prompt.",
    )
    show_names: bool = Field(
        False, description="Put people's display names before what they say when several speak in the window."
    )
    retention_days: int = Field(
        30,
        ge=0,
        description="How many days messages and replies are kept, and backups of the database; then their words are "
        "deleted. Long enough for a talk to go on, and no archive. 0 keeps them for ever.",
    )
    stream: bool = Field(
        True,
        description="Show a reply that takes longer than a second and a half while it is written, with a button that "
        "stops it.",
    )
    reply_buttons: bool = Field(
        True,
        description="Put two buttons under each reply, for another version and for more; what they do is also in the "
        "menu of a message (Apps).",
    )
    person_per_minute: int = Field(
        20,
        ge=0,
        description="How many messages of one person are answered in a minute; 0 is no limit. Who writes more is told "
        "so, once a minute. Other versions of a reply, going on with one, and edited messages count too.",
    )
    channel_per_minute: int = Field(
        90, ge=0, description="How many messages are answered in a minute in one channel; 0 is no limit."
    )
    server_per_minute: int = Field(
        300, ge=0, description="How many messages are answered in a minute in one server; 0 is no limit."
    )
    webhooks: bool = Field(
        True,
        description="Let a persona speak with its own name and picture where the bot has the permission Manage "
        "Webhooks. Without it the bot speaks as itself.",
    )
    message_content: bool = Field(
        True,
        description="Ask Discord for the Message Content intent. Without it the bot answers mentions, replies "
        "to it and direct messages only.",
    )
    admin_ids: Annotated[tuple[int, ...], NoDecode] = Field(
        (),
        description="Discord ids, with commas between, of people who may use `/retrain` and `/adapter` besides the "
        "application's owner or team.",
    )
    training_data: Listed = Field(
        (),
        description="What a retraining learns from, with commas between: hub ids of data sets, and files. Without "
        "it, the dialogues that come with the project.",
    )
    training_folder: Path | None = Field(
        None,
        description="A folder with files of your own to learn from as well: every .jsonl, .jsonl.gz, .csv and "
        ".parquet in it. Without it, `training` in the data folder.",
    )
    retrain_steps: int = Field(
        40,
        ge=1,
        le=100_000,
        description="How many steps of 8 rows a retraining takes. More learns more, and takes longer.",
    )
    retrain_rows: int | None = Field(
        None, ge=20, description="At most so many rows of each source. Without it, all of them."
    )
    retrain_eval_rows: int = Field(
        50,
        ge=1,
        description="On how many rows that were kept out of training the new adapter is compared with the one in "
        "service.",
    )
    retrain_pause_replies: bool = Field(
        False,
        description="Let go of the model while a retraining runs, where there is no room for both; people get a "
        "polite line meanwhile.",
    )
    metrics_port: int = Field(
        0,
        ge=0,
        le=65535,
        description="A port for `/healthz`, `/readyz` and Prometheus' `/metrics`; 0 is none. They need no password and "
        "say nothing of what people say.",
    )
    metrics_host: str = Field(
        "127.0.0.1", description="The address of that port. In a container, `0.0.0.0` lets its host see it."
    )
    shard_count: int = Field(
        1, ge=1, description="Over how many connections to Discord the servers are spread, those of all processes."
    )
    shard_ids: Annotated[tuple[int, ...], NoDecode] = Field(
        (), description="Which of them this process holds, with commas between, counted from 0. Without it, all."
    )
    log_format: Literal["text", "json"] = Field(
        "text", description="How the log is written: lines for people, or a JSON object a line."
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="How much is logged. Message text, tokens and secrets never are."
    )

    @field_validator("data_dir", "key_file", "training_folder")
    @classmethod
    def _expand_home(cls, value: Path | None) -> Path | None:
        return value.expanduser() if value is not None else None

    @field_validator("admin_ids", "shard_ids", "training_data", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @model_validator(mode="after")
    def _room_for_talk(self) -> Self:
        if self.persona_tokens + 128 > self.context_tokens:
            raise ValueError(
                f"persona_tokens ({self.persona_tokens}) must leave at least 128 of context_tokens "
                f"({self.context_tokens}) for talk"
            )
        return self

    @model_validator(mode="after")
    def _shards_there_are(self) -> Self:
        if any(not 0 <= shard < self.shard_count for shard in self.shard_ids):
            raise ValueError(f"shard_ids must be from 0 to {self.shard_count - 1}, since shard_count is so many")
        return self

    @property
    def sampling(self) -> Sampling:
        """How replies are drawn."""
        return Sampling(
            self.max_new_tokens, self.temperature, self.top_p, self.repetition_penalty, self.top_k, self.min_p
        )


def load_settings(**overrides: object) -> Settings:
    """Read the settings; options of the command line come in as overrides, None meaning not given.

    Raises SettingsError that names each variable at fault, never its value (it may be a secret).
    """
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        faults = "\n".join(f"  {_variable(fault['loc'])}: {fault['msg']}" for fault in error.errors())
        raise SettingsError(f"These settings cannot be used:\n{faults}") from None
    except (OSError, UnicodeDecodeError):
        raise SettingsError("The file `.env` in this folder cannot be read as UTF-8 text.") from None


def _variable(location: tuple[int | str, ...]) -> str:
    if not location:
        return "settings"
    name = str(location[0])
    return name if name == TOKEN_VARIABLE else f"{PREFIX}{name.upper()}"
