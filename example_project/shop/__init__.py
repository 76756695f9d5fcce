"""A small shop: what is ordered is reserved, mailed about and counted."""
