"""What a customer is expected to bring, and what a campaign earns."""
