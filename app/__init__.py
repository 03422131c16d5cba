"""The doors: command line, map, exports, and the one place where parts are wired together."""
