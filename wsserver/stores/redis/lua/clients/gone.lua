-- ARGV: 1 node. Returns state and tokens, if the client is that node's.
if field('node') ~= ARGV[1] then
    return false
end
return bury()
