-- ARGV: 1 node. Only what was given up, or is that node's own.
if field('gone') == '1' or field('node') == ARGV[1] then
    redis.call('DEL', CLIENT)
end
return 0
