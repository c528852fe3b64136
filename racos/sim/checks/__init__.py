"""What must hold in every run: each checker an object that says what it verifies and what not."""
