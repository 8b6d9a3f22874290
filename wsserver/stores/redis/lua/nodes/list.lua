-- Returns the nodes whose lease stands, and those whose lease has run out.
local now = string.format('%.0f', now_ms())
return {
    redis.call('ZRANGEBYSCORE', KEYS[1], now, '+inf'),
    redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', '(' .. now),
}
