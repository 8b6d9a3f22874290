-- ARGV: 1 requests a minute, 2 tokens a minute, 3 requests to charge
-- Returns which limit is used up ('' for none: then it is charged), and the seconds to wait.
local now = now_seconds()
local wait = wait_for_one(TOKENS, ARGV[2], now)
if wait > 0 then
    return {'tokens', exact(wait)}
end
local interval, tolerance = meter_of(ARGV[1])
if interval == 0 then
    return {'', '0'}
end
local arrival = rested_at(REQUESTS, now) + ARGV[3] * interval
wait = arrival - now - tolerance
if wait > NOTHING then
    return {'requests', exact(wait)}
end
keep(REQUESTS, arrival, now)
return {'', '0'}
