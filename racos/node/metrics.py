"""A node's figures in Prometheus's text format, under etcd's names where etcd has the same figure.

Collected when somebody asks, never on the way of a request.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prometheus_client import CollectorRegistry, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from racos.node.cleaner import SpaceStatistics
from racos.node.figures import Statistics
from racos.node.healer import HealerStatistics
from racos.node.node import Node
from racos.node.scrubber import ScrubStatistics
from racos.node.silence import Progress


class NodeCollector(Collector):
    def __init__(self, node: Node) -> None:
        self._node = node

    def collect(self) -> Iterator[Metric]:
        figures = self._node.statistics()
        yield from self._gauges(figures)
        yield from _counters(figures)
        decisions = CounterMetricFamily(
            "racos_agreement", "What happened in agreement, by kind.", labels=["kind"]
        )
        for kind, count in figures.decisions.items():
            decisions.add_metric([kind], count)
        yield decisions
        yield _of_lanes([member.name for member in self._node.identity.members], figures.lanes_off)
        yield from _of_fragments(figures.fragments)
        yield from _of_space(figures.space, figures.log_segments)
        yield from _of_scrub(figures.scrub)
        yield from _of_silence(figures.silence)

    def _gauges(self, figures: Statistics) -> Iterator[Metric]:
        leader = self._node.leader()
        gauges = {
            "etcd_server_has_leader": ("Whether a quorum answers.", int(leader != 0)),
            "etcd_server_is_leader": (
                "Whether tools may take this member for a leader; Racos has none.",
                int(leader == self._node.member_id),
            ),
            "etcd_server_proposals_pending": (
                "Commands that wait to be proposed.",
                figures.waiting_commands,
            ),
            "etcd_mvcc_db_total_size_in_bytes": ("Size of log and index.", figures.db_bytes),
            "etcd_mvcc_db_total_size_in_use_in_bytes": (
                "Bytes for what can still be read; the quota counts these.",
                figures.used_bytes,
            ),
            "etcd_server_quota_backend_bytes": (
                "Space quota; 0 for none.",
                self._node.config.quota_backend_bytes,
            ),
            "racos_disk_free_bytes": (
                "Free on the disk of the log, besides the ballast.",
                figures.room.free_bytes,
            ),
            "racos_disk_short": (
                "Whether that is so little that nothing new is taken (NOSPACE).",
                int(figures.room.is_short),
            ),
            "racos_ballast_bytes": (
                "Put by for deletes and promises on a full disk.",
                figures.room.ballast_bytes,
            ),
            "racos_alarms": ("Alarms raised in the cluster.", len(self._node.alarms())),
            "racos_audit_revision": (
                "Revision at which this member last compared all members.",
                figures.audits.revision,
            ),
            "etcd_debugging_mvcc_current_revision": ("Current revision.", figures.revision),
            "etcd_debugging_mvcc_compact_revision": (
                "Compact revision.",
                figures.compact_revision,
            ),
            "racos_leases": ("Leases there are.", figures.leases),
            "racos_keep_alives_waiting": (
                "Keep-alives not answered yet.",
                figures.waiting_keep_alives,
            ),
            "racos_config_epoch": ("Newest epoch of the configuration.", figures.epoch),
            "racos_peers_connected": ("Peers this member is connected to.", figures.connected),
        }
        for name, (text, value) in gauges.items():
            yield GaugeMetricFamily(name, text, value)


def _counters(figures: Statistics) -> Iterator[Metric]:
    counters = {
        "etcd_server_proposals_committed": ("Slots decided.", figures.decided_slots),
        "etcd_server_proposals_applied": ("Slots applied.", figures.applied_slots),
        "etcd_debugging_lease_granted": ("Leases granted.", figures.leases_granted),
        "etcd_debugging_lease_revoked": ("Leases ended.", figures.leases_ended),
        "etcd_debugging_lease_renewed": ("Renewals of leases.", figures.lease_renewals),
        "racos_commands_applied": ("Commands applied.", figures.applied_commands),
        "racos_audits": ("Comparisons of members that ended.", figures.audits.audits),
        "racos_audits_differing": (
            "Those that found members differing.",
            figures.audits.differing,
        ),
        "racos_log_syncs": ("Group commits of the log.", figures.synced_batches),
        "racos_log_written_bytes": ("Bytes of records written.", figures.written_bytes),
    }
    for name, (text, value) in counters.items():
        yield CounterMetricFamily(name, text, value)


def _of_lanes(names: Sequence[str], off: int) -> Metric:
    family = GaugeMetricFamily(
        "racos_lane_off", "Whether a member's lane is switched off.", labels=["lane", "member"]
    )
    for lane, name in enumerate(names):
        family.add_metric([str(lane), name], off >> lane & 1)
    return family


def _of_fragments(figures: HealerStatistics) -> Iterator[Metric]:
    """Of batches with large values: what each member holds of them."""
    gauges = {
        "missing": ("Batches without this member's own fragment.", figures.missing),
        "surplus": ("Batches with more than this member's own fragment.", figures.surplus),
        "corrupt": (
            "Missing ones that cannot be healed: their values are not what was agreed on.",
            len(figures.corrupt),
        ),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"racos_fragments_{name}", text, value)
    counters = {
        "healed": ("Missing ones that came back.", figures.healed),
        "healed_bytes": ("Bytes of own fragments written anew.", figures.healed_bytes),
        "heal_failures": ("Attempts that failed.", figures.failed),
        "pruned": ("Surplus fragments dropped.", figures.pruned),
        "pruned_bytes": ("Bytes of surplus fragments dropped.", figures.pruned_bytes),
    }
    for name, (text, value) in counters.items():
        yield CounterMetricFamily(f"racos_fragments_{name}", text, value)


def _of_scrub(figures: ScrubStatistics) -> Iterator[Metric]:
    """Of the reading of everything at rest."""
    gauges = {
        "progress": ("Of the present pass, 0 to 1; 1 between passes.", figures.progress),
        "last_pass_seconds": ("Since the last pass ended; -1: none did.", figures.since_seconds),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"racos_scrub_{name}", text, value)
    counters = {
        "passes": ("Passes over everything at rest.", figures.passes),
        "read_bytes": ("Bytes read.", figures.read_bytes),
        "damaged_records": ("Damaged records, in each pass again.", figures.damaged_records),
        "dropped_fragments": ("Damaged fragments, dropped to heal.", figures.dropped_fragments),
    }
    for name, (text, value) in counters.items():
        yield CounterMetricFamily(f"racos_scrub_{name}", text, value)


def _of_space(figures: SpaceStatistics, segments: int) -> Iterator[Metric]:
    """Of the log: what is needed of it, and what was given back."""
    gauges = {
        "segments": ("Segments of the log.", segments),
        "live_bytes": ("Bytes of values and descriptors that are needed.", figures.live_bytes),
        "floor": ("Slots below this one are known by their outcome only.", figures.floor),
        "damaged": ("Records found damaged when they were to be moved.", figures.damaged),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"racos_log_{name}", text, value)
    counters = {
        "removed_segments": ("Segments removed.", figures.removed_segments),
        "removed_bytes": ("Bytes of them.", figures.removed_bytes),
        "rewritten_segments": ("Segments emptied by moving.", figures.rewritten_segments),
        "moved_bytes": ("Bytes of fragments moved.", figures.copied_bytes),
    }
    for name, (text, value) in counters.items():
        yield CounterMetricFamily(f"racos_log_{name}", text, value)


def _of_silence(progress: Progress | None) -> Iterator[Metric]:
    """Of a member without memory, which says nothing until it has taken what the others have."""
    upto, round_ = (-1, -1) if progress is None else progress[:2]
    gauges = {
        "silent": ("Whether this member has lost its memory and is silent.", progress is not None),
        "silent_upto_round": ("Up to which round; -1: unknown, or not silent.", upto),
        "silent_round": ("All rounds below this one are applied; -1: not silent.", round_),
    }
    for name, (text, value) in gauges.items():
        yield GaugeMetricFamily(f"racos_{name}", text, int(value))


class Metrics:
    """Renders on request."""

    def __init__(self, node: Node) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(NodeCollector(node))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        return generate_latest(self._registry)
