"""Speaks Discord: events become calls of the core, results become messages. No torch and no SQL here."""
