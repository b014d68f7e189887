"""Review of predicted key-points in the browser: accept, correct, reject, and predict the doubtful ones again."""
