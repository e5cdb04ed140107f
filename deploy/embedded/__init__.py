"""The embedded platform: every server on one machine, under supervisord, state in one folder."""
