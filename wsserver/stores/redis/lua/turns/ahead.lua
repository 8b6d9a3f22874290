-- Who stands before a turn. KEYS: line, leases, placed. ARGV: stream, lease (ms), idle (ms)
-- Returns for each: the stream, 1 if the process that leads it has not been heard of, 1 if its
-- messages are in the tree.
local now, found = now_ms(), {}
for _, stream in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    if stream == ARGV[1] then
        return found
    end
    local lease = tonumber(redis.call('HGET', KEYS[2], stream) or 0)
    found[#found + 1] = stream
    found[#found + 1] = lease < now and 1 or 0
    found[#found + 1] = redis.call('SISMEMBER', KEYS[3], stream)
end
-- It was believed dead, or Redis has lost the line. Without a place of its own it would wait for all
-- who ever come.
redis.call('RPUSH', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[2], ARGV[1], now + tonumber(ARGV[2]))
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return found
