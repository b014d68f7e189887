"""Images of one kind mapped to one canonical grid by a small network that is trained on them: ASIC's training."""
