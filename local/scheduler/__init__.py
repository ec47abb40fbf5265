"""Stands in for Cloud Scheduler v1: jobs that send HTTP requests by the clock."""
