"""One replica as a process: the driver around the core, batching, values, configuration."""
