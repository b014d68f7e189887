"""Images, the frames that points live in, heat maps and flow: arithmetic on pixels, no network."""
