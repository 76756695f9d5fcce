"""The release that follows."""
