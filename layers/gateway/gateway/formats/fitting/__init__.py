"""Requests as the families of their models take them; what a family takes is in `gateway.calls.families`.

converse   a request in Converse's words, by the steps of `asked`, `tools` and `turns` on a piece of `work`
claude     a body of Claude's own messages
calls      a call whose body a client made itself
"""
