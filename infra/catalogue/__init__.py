"""Everything that is derived from the functions' declarations, so that nothing repeats them by hand.

`python -m infra.catalogue` writes it; `python -m infra.catalogue --check` fails when something is out of date.
"""
