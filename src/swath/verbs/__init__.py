"""What a person does with swath: one file per verb, each a typed function `run(config)` and its config.

Importing a verb loads neither torch nor a geospatial library: they come with `run`.
"""
