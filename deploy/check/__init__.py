"""Checks of everything under deploy/ by real tools: `make check-deploy`."""
