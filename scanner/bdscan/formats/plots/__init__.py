"""Plots as geometry: evidence in, coordinates out. The templates turn these into SVG; nothing here knows markup.

Every plot is `WIDTH` units wide, close to the width of a phone, so that its text stays readable when it is scaled.
"""
