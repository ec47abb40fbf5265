"""Stands in for Cloud Tasks v2: queues that send HTTP requests to workers, at a rate, on time, and again until they
succeed."""
