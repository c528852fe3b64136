"""The published algorithm, corrected: queue-based Rabia with coded payloads, behind the same facade
as the lanes (docs/queue-engine.md). Pure, like `racos.core`.
"""
