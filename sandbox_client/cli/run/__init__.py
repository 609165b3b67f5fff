"""`sandbox run`: script files as commands, notebooks and pieces of code as cells."""
