"""Pure agreement: lanes, slots, quorums, the coin and the read barrier (no I/O, no clock, no
randomness).
"""
