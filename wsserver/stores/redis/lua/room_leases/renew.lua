-- Arguments: node, now (empty: Redis' own), for how long from then (ms). Returns whether its lease
-- still stood, or it had none yet.
local node, now = ARGV[1], tonumber(ARGV[2]) or now_ms()

local before = redis.call('ZSCORE', KEYS[1], node)
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[3]), node)
redis.call('PEXPIRE', KEYS[1], 604800000)
return (before and tonumber(before) < now) and 0 or 1
