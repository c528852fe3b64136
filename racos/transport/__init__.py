"""Peer transport: framing and the mesh of TCP links between replicas."""
