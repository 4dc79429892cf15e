"""Encoders: fetched or pretrained, and trained."""
