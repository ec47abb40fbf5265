"""What is deployed of each function: an archive with only what it imports, and always the same bytes."""
