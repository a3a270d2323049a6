"""Chaos: seeded runs of the whole pipeline over a real PostgreSQL, in which anything may fail at any step.

A seed decides everything: which requests there are, in which order the steps of all functions interleave, and
what fails where. `make chaos SEED=123` runs that very sequence again and prints it; docs/proof.md says more.
"""
