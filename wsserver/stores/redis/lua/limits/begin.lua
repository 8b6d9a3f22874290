-- ARGV: 1 most places, 2 streamId. Returns who has the places if all are taken.
if redis.call('ZSCORE', PLACES, ARGV[2]) then
    return {}
end
if places_taken() >= tonumber(ARGV[1]) then
    return redis.call('ZRANGE', PLACES, 0, -1)
end
redis.call('ZADD', PLACES, now_ms(), ARGV[2])
redis.call('PEXPIRE', PLACES, PLACE_MS)
return {}
