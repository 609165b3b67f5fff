"""The values that calls return: frozen, and without I/O, except that they show themselves in a notebook.

There are more than twelve modules, because each kind of value has its own.
"""
