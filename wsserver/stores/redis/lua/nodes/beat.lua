-- ARGV: 1 node, 2 lease (ms). Returns whether its lease still stood.
local known = redis.call('ZSCORE', KEYS[1], ARGV[1])
local now = now_ms()
redis.call('ZADD', KEYS[1], now + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 86400000) -- should all die at once and none come back
return (known and tonumber(known) >= now) and 1 or 0
