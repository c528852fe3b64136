"""Durable storage: the disk port, checksummed records and the group-committed log of values."""
