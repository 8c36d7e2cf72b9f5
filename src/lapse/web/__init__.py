"""The page for marketing: lists to filter, believe and download; each customer's story; how far the model can be trusted."""
