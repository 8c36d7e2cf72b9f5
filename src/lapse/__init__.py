"""lapse finds the customers who are about to stop buying, and says why."""

__version__ = "0.1.0"
