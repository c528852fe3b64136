"""Local clusters from the command line: start, stop, kill and watch real processes."""
