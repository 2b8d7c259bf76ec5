"""All claims, in the order of the page."""

from sme.studies.claims.claim import Claim
from sme.studies.claims.tested import bounds, images, memory, momentum, networks, noise, orders, patterns, rates, sampling, steps

PARTS = (steps, memory, rates, bounds, momentum, patterns, noise, orders, networks, sampling, images)
CLAIMS: tuple[Claim, ...] = tuple(claim for part in PARTS for claim in part.CLAIMS)
BY_NAME = {each.name: each for each in CLAIMS}
