"""Puts the daemon in place on a machine with systemd, and takes it away again.

`options` is the command line, `place` where things belong, `shipped` the files that the package
brings, `network` whom the daemon may speak to, `plan` what will be done (a value, made without
touching anything), `perform` the doing, with everything put back where it fails, and `commands`
wires them: plan, say, ask, do.
"""
