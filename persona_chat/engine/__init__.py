"""Engines: they turn a persona and a dialogue into Person B's next words. Only this folder imports torch."""
