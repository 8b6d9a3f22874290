-- Nodes whose lease ran out some time ago. Arguments: now (empty: Redis' own), how long ago (ms).
local now = tonumber(ARGV[1]) or now_ms()
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', string.format('(%.0f', now - tonumber(ARGV[2])))
