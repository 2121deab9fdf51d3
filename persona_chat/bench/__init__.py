"""How fast replies are, ours beside others': the conversations, the processes that answer them, and the report."""
