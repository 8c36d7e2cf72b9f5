"""What a customer is worth: expected margin, campaign profit."""
