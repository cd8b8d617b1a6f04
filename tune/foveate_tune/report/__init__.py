"""A sweep as one HTML page that needs no network.

``record.py`` reads the sweep, ``pictures/`` draws it, ``page.py`` binds it.
"""
