"""A directory on supervisord's import path; supervisord imports the module in it by its bare name."""
