"""Subcommands of `warmscale`, a module each."""
