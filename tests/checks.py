"""The checks that are not tests: format, lint, types, imports between rooms, declared dependencies."""

import subprocess
import sys
import time

CHECKS = (
    ("ruff", "format", "--check", "--quiet", "."),
    ("ruff", "check", "--quiet", "."),
    ("mypy",),
    ("importlinter",),
    ("deptry", ".", "--no-ansi"),
)


def main() -> int:
    """Run every check, also after one has failed, and say which did."""
    failed = []
    for check in CHECKS:
        started = time.perf_counter()
        command = ["lint-imports", "--no-logo"] if check == ("importlinter",) else list(check)
        script = f"{sys.prefix}/bin/{command[0]}"
        done = subprocess.run([script, *command[1:]], capture_output=True, text=True, check=False)
        word = "ok    " if done.returncode == 0 else "FAILED"
        print(f"{word} {' '.join(command)} ({time.perf_counter() - started:.1f} s)")
        if done.returncode != 0:
            print(done.stdout + done.stderr)
            failed.append(command[0])
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
