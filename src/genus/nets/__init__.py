"""Tensors in, tensors out: the networks, and the heads that make distributions of their numbers."""
