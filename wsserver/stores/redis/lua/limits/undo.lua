-- ARGV: 1 requests a minute, 2 streamId
-- Gives back the place and the request that `enter` took for an answer, once.
if redis.call('ZREM', PLACES, ARGV[2]) == 1 then
    local interval = meter_of(ARGV[1])
    local now = now_seconds()
    local arrival = rested_at(REQUESTS, now) - interval
    redis.call('DEL', REQUESTS)
    keep(REQUESTS, arrival, now)
end
return 0
