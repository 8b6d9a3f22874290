-- Put before every script of limits. The meter is that of core/limits.py: one number per key, the
-- time (in seconds) at which it will be fully rested again; past it, no key.
local REQUESTS, TOKENS, PLACES = KEYS[1], KEYS[2], KEYS[3]

local NOTHING = 1e-9
-- A place outlives everything that could have given it back.
local PLACE_MS = 86400000

local function now_seconds()
    local time = redis.call('TIME')
    return tonumber(time[1]) + tonumber(time[2]) / 1000000
end

-- Seconds until one unit comes back, and those that a rested key may be ahead.
local function meter_of(rate)
    if tonumber(rate) == 0 then
        return 0, 0
    end
    return 60 / rate, 60
end

local function rested_at(key, now)
    return math.max(tonumber(redis.call('GET', key) or 0), now)
end

local function keep(key, arrival, now)
    local left = math.ceil((arrival - now) * 1000)
    if left > 0 then
        redis.call('SET', key, string.format('%.17g', arrival), 'PX', left)
    end
end

-- Seconds until one unit is available.
local function wait_for_one(key, rate, now)
    local interval, tolerance = meter_of(rate)
    if interval == 0 then
        return 0
    end
    return math.max(0, rested_at(key, now) - now + interval - tolerance)
end

local function remaining(key, rate, now)
    local interval, tolerance = meter_of(rate)
    if interval == 0 then
        return 0
    end
    local behind = rested_at(key, now) - now
    return math.max(0, math.floor((tolerance - behind) / interval + NOTHING))
end

local function places_taken()
    redis.call('ZREMRANGEBYSCORE', PLACES, '-inf', now_ms() - PLACE_MS)
    return redis.call('ZCARD', PLACES)
end

-- Numbers with a fraction go back as text: a number would lose it.
local function exact(number)
    return string.format('%.17g', number)
end
