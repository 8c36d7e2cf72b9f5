"""Landing what is no file: packages, databases, object stores."""
