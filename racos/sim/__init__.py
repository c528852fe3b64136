"""Deterministic simulation of a whole cluster: the production driver on a simulated world.

One seed is one run; the same seed gives the same run, event for event. Nothing here reads a wall
clock, starts a thread or knows asyncio (`campaign`, which runs many seeds, is the exception).
"""
