"""Racos: a leaderless, erasure-coded, replicated key-value store that speaks etcd's API."""

__version__ = "0.1.0"
