-- ARGV: 1 requests a minute, 2 tokens a minute, 3 most places, 4 streamId, 5 for how long it is
-- believed to live unseen (ms)
-- Charges one request and takes a place, or neither. Returns which limit is used up ('' for none),
-- and the seconds to wait, or who has the places and may have ended.
if redis.call('ZSCORE', PLACES, ARGV[4]) then
    return {'', '0'} -- sent again after its reply was lost
end
local now = now_seconds()
local wait = wait_for_one(TOKENS, ARGV[2], now)
if wait > 0 then
    return {'tokens', exact(wait)}
end
local interval, tolerance = meter_of(ARGV[1])
local arrival = rested_at(REQUESTS, now) + interval
wait = arrival - now - tolerance
if interval > 0 and wait > NOTHING then
    return {'requests', exact(wait)}
end
if places_taken() >= tonumber(ARGV[3]) then
    return {'places', redis.call('ZRANGEBYSCORE', PLACES, '-inf', now_ms() - tonumber(ARGV[5]))}
end
if interval > 0 then
    keep(REQUESTS, arrival, now)
end
redis.call('ZADD', PLACES, now_ms(), ARGV[4])
redis.call('PEXPIRE', PLACES, PLACE_MS)
return {'', '0'}
