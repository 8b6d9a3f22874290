-- ARGV: 1 requests a minute, 2 tokens a minute
-- Returns what is left of either, the places taken, and the seconds until all is rested.
local now = now_seconds()
local requests, tokens = rested_at(REQUESTS, now) - now, rested_at(TOKENS, now) - now
return {
    remaining(REQUESTS, ARGV[1], now),
    remaining(TOKENS, ARGV[2], now),
    places_taken(),
    exact(math.max(requests, tokens)),
}
