"""The release that is at work."""
