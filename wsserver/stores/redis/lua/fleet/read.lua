-- All workers that live, if anything has changed. KEYS: as for announce.
-- ARGV: the version that the reader knows, or ''.
-- Returns {version} where that is still true, else {version, node, picture, node, picture, …}.
for _, node in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now_ms())) do
    redis.call('ZREM', KEYS[2], node)
    redis.call('HDEL', KEYS[1], node)
    redis.call('INCR', KEYS[3])
end
local version = redis.call('GET', KEYS[3]) or '0'
if version == ARGV[1] then
    return { version }
end
return { version, unpack(redis.call('HGETALL', KEYS[1])) }
