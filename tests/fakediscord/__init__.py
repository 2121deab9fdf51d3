"""A Discord on loopback, spoken to over real sockets by the real discord.py: what our bot uses of it, and no more."""
