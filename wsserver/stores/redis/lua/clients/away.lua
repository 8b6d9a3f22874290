-- ARGV: 1 node, 2 window (ms)
if field('node') == ARGV[1] then
    leave(tonumber(ARGV[2]))
end
return 0
