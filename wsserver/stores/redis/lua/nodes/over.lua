-- ARGV: 1 node. Returns the time (ms) if its lease is over, else 0.
local due = redis.call('ZSCORE', KEYS[1], ARGV[1])
if due and tonumber(due) >= now_ms() then
    return 0
end
return now_ms()
