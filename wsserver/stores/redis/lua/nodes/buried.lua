-- ARGV: 1 node. Forgets a dead node, unless it lives again.
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if due and tonumber(due) < now_ms() then
    redis.call('ZREM', KEYS[1], ARGV[1])
end
return 0
