"""Durable storage: the disk port and the group-committed log that is the value store."""
