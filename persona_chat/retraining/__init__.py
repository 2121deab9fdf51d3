"""Training again on the operator's own data: what it will do, the run, the gate, and the swap. It knows no Discord."""
