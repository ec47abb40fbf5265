"""The endpoint kit: what every function shares between the platform's HTTP and the rooms' services."""
