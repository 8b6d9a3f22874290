-- ARGV: 1 most places, 2 streamId, 3 for how long it is believed to live unseen (ms)
-- Returns nothing if it has a place, else who has the places and may have ended.
local now = now_ms()
local is_new = not redis.call('ZSCORE', PLACES, ARGV[2])
if is_new and places_taken() >= tonumber(ARGV[1]) then
    return redis.call('ZRANGEBYSCORE', PLACES, '-inf', now - tonumber(ARGV[3]))
end
redis.call('ZADD', PLACES, now, ARGV[2])
redis.call('PEXPIRE', PLACES, PLACE_MS)
return false
