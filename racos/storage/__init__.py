"""Durable storage: the disk port, checksummed records and the group-committed log that is the value store."""
