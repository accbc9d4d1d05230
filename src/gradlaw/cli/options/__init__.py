"""What each command takes. Nothing heavy is imported, so that help comes at once."""
