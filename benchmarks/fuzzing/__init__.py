"""Broken and hostile files for every reader: where they come from, how they are made, what reads them."""
