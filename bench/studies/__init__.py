"""Plug-ins: one study per file."""
