"""Losses and the laws of their noisy gradients."""

from sme.problems.networks.network import Network

__all__ = ["Network"]
