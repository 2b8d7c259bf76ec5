"""All claims, in the order of the page."""

from sme.studies.claims.claim import Claim
from sme.studies.claims.tested import memory, momentum, rates, steps

CLAIMS: tuple[Claim, ...] = (*steps.CLAIMS, *memory.CLAIMS, *momentum.CLAIMS, *rates.CLAIMS)
BY_NAME = {each.name: each for each in CLAIMS}
