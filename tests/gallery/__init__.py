"""Every figure and the report, rendered for a person to look at (docs/testing.md)."""
