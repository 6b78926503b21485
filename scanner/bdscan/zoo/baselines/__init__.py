"""Published methods as their papers give them, to measure ours against."""
