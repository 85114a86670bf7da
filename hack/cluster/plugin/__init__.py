"""A folder of its own on the path of supervisord, which loads the module in it by its bare name."""
