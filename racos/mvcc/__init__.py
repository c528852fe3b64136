"""Pure state machine: revisions, ranges, transactions and compaction as etcd defines them."""
