"""The trainer and the evaluator: a program of its own, `python -m training`. It knows no Discord."""
