"""Where the pixels of a scene come from: one file per kind, all read by window (`swath.data.windowed`).

`swath.scenes.sources.opening.open_source` chooses the kind by what it is given. Every source has a `spec`, a plain
value from which `open_source` opens it again, in another process or on another machine, without asking a catalogue
a second time.
"""
