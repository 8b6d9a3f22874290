-- Put before every script of clients.
local CLIENT = KEYS[1]

-- For a client that is connected; its node says again and again that it is.
local PRESENT_MS = 86400000
-- After a window: for whoever must clear what the client has left.
local GRACE_MS = 3600000

-- What a node learns of a client that it has had.
local OURS, STALE, TAKEN, GIVEN_UP = 1, 2, 0, -1

local function field(name)
    return redis.call('HGET', CLIENT, name)
end

-- The digests that a field lists.
local function digests(name)
    local found = {}
    for digest in string.gmatch(field(name) or '', '%S+') do
        found[#found + 1] = digest
    end
    return found
end

local function is_among(found, digest)
    for _, one in ipairs(found) do
        if one == digest then
            return true
        end
    end
    return false
end

-- Whether the client is still where and as that take has left it. What a node says of an earlier one
-- may come late: its connection to this Redis broke, or this Redis stood still.
local function is_held(node, takes)
    return field('node') == node and field('takes') == takes
end

local function be_present()
    redis.call('HSET', CLIENT, 'away', '', 'said', string.format('%.0f', now_ms()))
    redis.call('PEXPIRE', CLIENT, PRESENT_MS)
end

local function leave(window_ms)
    redis.call('HSET', CLIENT, 'away', string.format('%.0f', now_ms() + window_ms))
    redis.call('PEXPIRE', CLIENT, string.format('%.0f', window_ms + GRACE_MS))
end

local function as_it_stands()
    return {field('state'), field('tokens'), field('takes')}
end

-- Nobody takes it any more; what it was is kept until it has been cleared.
local function bury()
    redis.call('HSET', CLIENT, 'gone', '1')
    redis.call('PEXPIRE', CLIENT, GRACE_MS)
    return as_it_stands()
end
