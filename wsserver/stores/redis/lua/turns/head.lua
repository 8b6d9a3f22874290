-- Whose turn it is. KEYS: line, leases
-- Returns the stream, '' if nobody waits, and 1 if the process that leads it has not been heard of.
local head = redis.call('LINDEX', KEYS[1], 0)
if not head then
    return {'', 0}
end
local lease = tonumber(redis.call('HGET', KEYS[2], head) or 0)
return {head, lease < now_ms() and 1 or 0}
