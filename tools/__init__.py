"""What the project is worked on with, outside the package."""
