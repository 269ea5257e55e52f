"""The laws that models, transforms and divergences are held to: one function a law, which raises `LawError` where it is broken.

`genus.testing` holds classes of your own to them, and the tests hold every family to the same functions.
"""
