"""Who may call over HTTP: one module a mode, and what holds with every mode.

`authenticator` is the interface, `token`, `anonymous`, `keys` and `oauth` are the modes and
`making` picks one by the settings; `gate` is what the doors ask, and `admission` how long what a
request opened may stay open; `host_rule` and `bind` say which names are answered and which
addresses are served.
"""
