"""The wire formats, and the generator of the stubs that are checked in."""
