"""Pixels off the disk: reading, units, layouts, labels and splits. The geospatial libraries live here.

Importing the package imports none of them; `swath.data.spec` and `swath.data.legend` are plain values.
"""
