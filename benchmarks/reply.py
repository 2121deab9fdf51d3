"""How long a reply takes in this process: first token, tokens a second, and what that makes for 24 tokens.

    python -m benchmarks.reply [--runs 7] [--data-dir FOLDER]

Prints medians with the lowest and the highest of the runs. One reply at a time, greedy, the template's example.
"""

import argparse
import asyncio
import json
import statistics
from dataclasses import replace
from pathlib import Path

from persona_chat.engine.local import LocalEngine
from persona_chat.engine.reply import Reply, ReplyRequest, Sampling
from persona_chat.settings import load_settings
from persona_chat.template import read_example

EXAMPLE = Path(__file__).parent.parent / "examples/david.json"
REPLY_TOKENS = 24


async def measure(runs: int, data_dir: Path | None) -> list[Reply]:
    """Return the replies of `runs` runs, after one that warms up."""
    engine = LocalEngine(load_settings(data_dir=data_dir))
    facts = await engine.start()
    print(f"{facts.base} in {facts.precision} on {facts.device}: {facts.why}")
    persona, dialogue = read_example(json.loads(EXAMPLE.read_text()))
    request = ReplyRequest(persona, dialogue, Sampling(REPLY_TOKENS, temperature=0))
    try:
        await engine.reply(request)
        # Sampled, because the likeliest reply of a base without an adapter may be too short to time.
        draws = [replace(request, sampling=Sampling(REPLY_TOKENS, seed=seed)) for seed in range(runs)]
        return [await engine.reply(draw) for draw in draws]
    finally:
        await engine.close()


def show(name: str, values: list[float], unit: str) -> float:
    """Print a row and return its median."""
    median = statistics.median(values)
    print(f"{name:<28} {median:7.2f} {unit:<4} ({min(values):.2f} to {max(values):.2f}, {len(values)} runs)")
    return median


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--data-dir", type=Path, default=None)
    options = parser.parse_args()
    replies = asyncio.run(measure(options.runs, options.data_dir))
    print(f"prompt of {replies[0].prompt_tokens} tokens")
    long_enough = [reply for reply in replies if reply.reply_tokens >= 4]
    steps = [(reply.total_s - reply.first_token_s) / (reply.reply_tokens - 1) for reply in long_enough]
    first = show("first token", [reply.first_token_s for reply in replies], "s")
    step = show("each further token", [1000 * step for step in steps], "ms") / 1000
    print(f"{f'so a reply of {REPLY_TOKENS} tokens':<28} {first + (REPLY_TOKENS - 1) * step:7.2f} s")


if __name__ == "__main__":
    main()
