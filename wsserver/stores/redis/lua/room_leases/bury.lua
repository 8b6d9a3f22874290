-- Forget a node, unless it lives again. Arguments: node, now (empty: Redis' own).
local node, now = ARGV[1], tonumber(ARGV[2]) or now_ms()
local due = redis.call('ZSCORE', KEYS[1], node)
if due and tonumber(due) < now then
    redis.call('ZREM', KEYS[1], node)
end
return 1
