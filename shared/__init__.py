"""Oprina's domain package: one room for each part of the domain, and the kit they stand on."""
