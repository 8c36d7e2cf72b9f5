"""The scheduler's run: from the sources to an archive of dated scores and lists, without DVC and without training."""
