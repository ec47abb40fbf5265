"""The process of the queue and the scheduler: what Google runs in the background for us."""
