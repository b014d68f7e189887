"""What one optimizer with several kinds of targets is worth; a file for each part."""
