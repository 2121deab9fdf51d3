"""The core of persona chat: personas, dialogue, template, store, engine. It knows no Discord and no trainer."""

__version__ = "0.1.0"
