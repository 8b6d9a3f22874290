-- Who stands before a turn. KEYS: line, leases, placed. ARGV: stream
-- Returns for each: the stream, 1 if the process that leads it has not been heard of, 1 if its
-- messages are in the tree.
local now, found = now_ms(), {}
for _, stream in ipairs(redis.call('LRANGE', KEYS[1], 0, -1)) do
    if stream == ARGV[1] then
        break
    end
    local lease = tonumber(redis.call('HGET', KEYS[2], stream) or 0)
    found[#found + 1] = stream
    found[#found + 1] = lease < now and 1 or 0
    found[#found + 1] = redis.call('SISMEMBER', KEYS[3], stream)
end
return found
