"""Measurements that take longer than a test: what the method is worth, on backbones whose training data is known."""
