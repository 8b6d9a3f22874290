-- ARGV: 1 node, 2 takes. Returns state, tokens and takes, if the client is that node's.
if not is_held(ARGV[1], ARGV[2]) then
    return false
end
return bury()
