-- ARGV: 1 node, 2 takes, 3 window (ms)
if is_held(ARGV[1], ARGV[2]) and field('gone') ~= '1' then
    leave(tonumber(ARGV[3]))
end
return 0
