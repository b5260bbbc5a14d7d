"""What a kind of model must keep, as checkers that any package's tests can call; ``contract`` has the suite."""
