"""What serves the page: guard, sessions, jobs and files."""
