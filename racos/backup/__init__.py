"""Backup files in etcd's format: written from a running store, read into a new cluster."""
