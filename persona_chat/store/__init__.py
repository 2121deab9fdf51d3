"""What is kept: tables, the database they lie in, and all SQL as verbs of `Store`."""
