-- ARGV: 1 node, 2 for how long (ms). Returns whether this node is the reaper.
local reaper = redis.call('GET', KEYS[2])
if reaper and reaper ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return 1
