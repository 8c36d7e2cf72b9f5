"""Who stayed: the customer retention rate."""
