"""Landing what is not a file: packages, databases, object stores."""
