"""The local cloud: what stands in for each outside system on a laptop, over its real protocol."""
