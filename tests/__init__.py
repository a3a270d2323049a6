"""Unit, integration and system tests."""
