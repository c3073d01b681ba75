"""Compose and stack files: read as Docker reads them, then held against the rules."""
