"""Chance, from the system: no seed that two copies of an environment would share (decision 18)."""

import random

CHANCE = random.SystemRandom()
