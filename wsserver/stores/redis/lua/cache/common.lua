-- Put before every script of the cache.
local ANSWERS, USED, ENDS, SIZE = KEYS[1], KEYS[2], KEYS[3], KEYS[4]

-- What an answer costs beside its text: as `CachedAnswer.size` has it.
local OVERHEAD = 512

-- In microseconds: two uses within one millisecond still have an order.
local function now_us()
    local time = redis.call('TIME')
    return tonumber(time[1]) * 1000000 + tonumber(time[2])
end

local function drop(digest)
    local size = redis.call('HSTRLEN', ANSWERS, digest)
    if redis.call('HDEL', ANSWERS, digest) == 1 then
        redis.call('DECRBY', SIZE, size + OVERHEAD)
    end
    redis.call('ZREM', USED, digest)
    redis.call('ZREM', ENDS, digest)
end
