"""Pure decisions about one task: no I/O, no clock, no logging. Everything hard is here, so that it can be proved."""
