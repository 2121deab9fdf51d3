"""Pumps every regular expression of the project: `python -m tests.pumped 3` prints a JSON line for each.

A process of its own, so that one which never ends can be ended; it says which it tries before it does.
"""

import ast
import importlib
import json
import re
import resource
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
LONG = 2000
LIMIT_S = 30
"""Then it is clear."""

ENDS = ("\x00", "", "q!")
FUNCTIONS = {"compile", "sub", "subn", "match", "search", "findall", "finditer", "split", "fullmatch"}
PUMPS = (
    " ", "a", "A", "I ", "\n", "\t", "\"", "'", "*", "_", "(", ")",
    "[", "{", "{{", "<", "<a ", "-", ".", "!", ",", ";", ":", "+",
    "0", "a,", "a.", "a b ", "a-", "a'", "a: b\n", "you are ", "Persona ", "Persona A", "R", "@",
    "/", "is ", "of ", "x(x+", "![", "http://", "…", "。", "\\", "and ", "日", "é",
    "~", "`", "|", "#", "<!--", "{{random:",
)  # fmt: skip


def expressions() -> Iterator[tuple[str, str | bytes, int]]:
    """Yield where each stands, its pattern and its flags. One that is made of values at run time is not here."""
    for room in ("bot", "persona_chat", "training", "migrations"):
        for path in sorted((ROOT / room).rglob("*.py")):
            tree = ast.parse(path.read_text())
            names: dict[str, Any] = {}
            for node in ast.walk(tree):
                if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)):
                    continue
                if not (isinstance(node.func.value, ast.Name) and node.func.value.id == "re"):
                    continue
                if node.func.attr not in FUNCTIONS or not node.args:
                    continue
                names = names or vars(importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts)))
                where = f"{path.relative_to(ROOT)}:{node.lineno}"
                pattern = _value(node.args[0], names)
                flags = [_value(word.value, names) for word in node.keywords if word.arg == "flags"]
                if node.func.attr == "compile" and len(node.args) > 1:
                    flags.append(_value(node.args[1], names))
                if isinstance(pattern, str | bytes):
                    yield where, pattern, int(next(iter(flags), 0) or 0)


def _value(node: ast.expr, names: dict[str, Any]) -> Any:
    try:
        return eval(compile(ast.Expression(node), "<expression>", "eval"), {"re": re, **names})
    except NameError:  # a local name: what it holds is not known here
        return None
    except AttributeError:
        return None


def main(ends: int) -> int:
    """Try each on each pump, before so many of the `ENDS`."""
    resource.setrlimit(resource.RLIMIT_CPU, (600, 600))
    for where, pattern, flags in expressions():
        print(json.dumps({"trying": where}), flush=True)
        compiled = re.compile(pattern, flags)
        slowest = 0.0
        for pump in PUMPS:
            for end in ENDS[:ends]:
                text: Any = (pump * LONG)[:LONG] + end
                if isinstance(pattern, bytes):
                    text = text.encode()
                began = time.process_time()
                compiled.search(text)
                compiled.fullmatch(text)
                compiled.sub(type(text)(), text)
                slowest = max(slowest, time.process_time() - began)
                if slowest > LIMIT_S:
                    return 1
        print(json.dumps({"where": where, "seconds": round(slowest, 4)}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
