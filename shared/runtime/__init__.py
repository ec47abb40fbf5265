"""What every room stands on: settings, clock, ids, logs, tracing, crypto and the tree of errors."""
