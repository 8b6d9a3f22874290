-- Put before every other script. What a session is, when it is gone, and what a use prolongs.
local LIST, EXPIRY, OWNER, SIZES, STREAMS = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local SESSION, CONTENTS, HEADS, TREE, ORDER = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local now, ttl, id = tonumber(ARGV[1]), tonumber(ARGV[2]), ARGV[3]

-- Redis frees a key so long after the session's end, in case nobody asks for the list before.
local GRACE = 3600000
-- A use is noted at most once in so many milliseconds, or a tenth of a shorter TTL.
local USE_STEP = 60000
-- Sessions of one client alone outlive a server that died without deleting them by this.
local EPHEMERAL_TTL = 86400000

local function is_alive()
    if redis.call('EXISTS', SESSION) == 0 then
        return false
    end
    local due = redis.call('ZSCORE', EXPIRY, id)
    return not due or tonumber(due) >= now
end

local function use(is_forced)
    local span = ttl
    if redis.call('HGET', SESSION, 'is_ephemeral') == '1' and (span == 0 or span > EPHEMERAL_TTL) then
        span = EPHEMERAL_TTL
    end
    local due = redis.call('ZSCORE', EXPIRY, id)
    if span == 0 then
        if due then
            redis.call('ZREM', EXPIRY, id)
            for index = 1, 10 do
                redis.call('PERSIST', KEYS[index])
            end
        end
        return
    end
    local step = math.min(USE_STEP, math.floor(span / 10))
    if due and not is_forced and tonumber(due) > now + span - step then
        return
    end
    redis.call('ZADD', EXPIRY, now + span, id)
    for index = 6, 10 do
        redis.call('PEXPIRE', KEYS[index], span + GRACE)
    end
    -- The owner's keys live as long as the last of the sessions, some of which may never end.
    if ttl > 0 then
        for index = 1, 5 do
            redis.call('PEXPIRE', KEYS[index], ttl + GRACE)
        end
    end
end

local function touch(updated_at)
    redis.call('HSET', SESSION, 'updated_at', updated_at)
    redis.call('ZADD', LIST, redis.call('HINCRBY', OWNER, 'touched', 1), id)
    use(true)
end

local function add_bytes(count)
    redis.call('HINCRBY', SIZES, id, count)
    redis.call('HINCRBY', OWNER, 'bytes', count)
end

local function forget_streams()
    for _, head in ipairs(redis.call('HVALS', HEADS)) do
        local stream = cjson.decode(head)['stream_id']
        if type(stream) == 'string' then
            redis.call('HDEL', STREAMS, stream)
        end
    end
end

local function drop_messages()
    forget_streams()
    add_bytes(0 - tonumber(redis.call('HGET', SIZES, id) or 0))
    redis.call('DEL', CONTENTS, HEADS, TREE, ORDER)
end

local function wipe()
    drop_messages()
    redis.call('HDEL', SIZES, id)
    redis.call('ZREM', LIST, id)
    redis.call('ZREM', EXPIRY, id)
    redis.call('DEL', SESSION)
    if redis.call('ZCARD', LIST) == 0 then
        redis.call('DEL', OWNER, SIZES, STREAMS)
    end
end

local function newest()
    return redis.call('LINDEX', ORDER, -1) or ''
end

local function parent_of(message)
    return string.match(redis.call('HGET', TREE, message), '^%d+:(.*)$')
end

local function size_of(message)
    return tonumber(string.match(redis.call('HGET', TREE, message), '^(%d+):'))
end

local function row(message)
    return {
        message,
        parent_of(message),
        redis.call('HGET', HEADS, message),
        redis.call('HGET', CONTENTS, message),
    }
end

local function described()
    return {
        'ok',
        redis.call('HGETALL', SESSION),
        redis.call('LLEN', ORDER),
        redis.call('HGET', SIZES, id) or '0',
        newest(),
    }
end
