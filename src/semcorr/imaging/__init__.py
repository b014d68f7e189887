"""Images, coordinate frames, heat maps and flow: arithmetic on pixels, without a network."""
