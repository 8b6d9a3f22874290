-- Put before every script of rooms. Keys are those of `room_keys`; the arguments of all are
--   now (empty: Redis' own), op (unique for a call), entries kept, their age (ms), keep (ms),
-- then the script's own, and at the end the place up to which the caller was told (empty: it was
-- told nothing yet), the channel, and the command that rings it.
local META, MEMBERS, ORDER, CLIENTS, ROLES = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local OWNERS, BANS, INVITES, ASKS, LOG = KEYS[6], KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local CHANGES, DONE, ANSWERS, KICKED, ORPHANS = KEYS[11], KEYS[12], KEYS[13], KEYS[14], KEYS[15]

local NOW, OP = tonumber(ARGV[1]) or now_ms(), ARGV[2]
local ENTRIES, AGE, KEEP = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local KNOWN, CHANNEL = tonumber(ARGV[#ARGV - 2]), ARGV[#ARGV - 1]

local LIFE = 86400000 -- of a room that no process says anything of
local CHANGES_KEPT, DONE_KEPT, ANSWERS_KEPT, KICKED_KEPT = 512, 256, 1024, 1024
local CHANGES_SHOWN = 64 -- with a reply, to who is behind
local ORPHANS_LIFE = 60000
local NEVER = 0 -- the place of an answer that will have none: its ask does not stand
local PAGE = 100 -- entries that are read at once
local RANKS = {viewer = 0, member = 1, moderator = 2, owner = 3}

local function whole(number)
    return string.format('%.0f', number)
end

-- A MessagePack array of byte strings.
local function pack(parts)
    local packed = {'\220' .. struct.pack('>I2', #parts)}
    for index, part in ipairs(parts) do
        packed[index + 1] = '\198' .. struct.pack('>I4', #part) .. part
    end
    return table.concat(packed)
end

-- For how long all that the room has is kept from now on.
local function live(ms)
    for index = 1, 14 do
        redis.call('PEXPIRE', KEYS[index], whole(ms))
    end
end

-- A key that the last command has made lasts as long as the room.
local function born(key)
    local ms = redis.call('PTTL', META)
    redis.call('PEXPIRE', key, whole(ms > 0 and ms or LIFE))
end

local function delete_room()
    redis.call('DEL', unpack(KEYS, 1, 14))
end

local function drop_older()
    while true do
        local oldest = redis.call('LINDEX', LOG, 0)
        if not oldest or tonumber(oldest:sub(1, 15)) >= NOW - AGE then
            return
        end
        redis.call('LPOP', LOG)
    end
end

-- The log's name; false if there is no room (any more).
local EPOCH = redis.call('HGET', META, 'ep')
if EPOCH and redis.call('ZCARD', ORDER) == 0 then
    if NOW - tonumber(redis.call('HGET', META, 'emptied')) > KEEP then
        delete_room()
        EPOCH = false
    end
end
if EPOCH and AGE > 0 then
    drop_older()
end

-- What is told.

local told, place = {}, tonumber(redis.call('HGET', META, 'chg') or 0)

-- Number a change, keep it for who misses its bell, and ring.
local function tell(kind, origin, ...)
    place = redis.call('HINCRBY', META, 'chg', 1)
    local before = redis.call('HGET', META, 'mark') or ''
    local mark = OP .. '.' .. #told
    local item = pack({EPOCH, whole(place), before, mark, kind, origin, ...})
    redis.call('HSET', META, 'mark', mark)
    if redis.call('RPUSH', CHANGES, item) == 1 then
        born(CHANGES)
    end
    redis.call('LTRIM', CHANGES, -CHANGES_KEPT, -1)
    if #told == 0 then
        redis.call('ZADD', DONE, place, OP)
        redis.call('ZREMRANGEBYRANK', DONE, 0, -DONE_KEPT - 1)
        if redis.call('ZCARD', DONE) == 1 then
            born(DONE)
        end
    end
    told[#told + 1] = item
    ring(CHANNEL, item)
end

-- Whether this very call has changed the room before: its reply was lost.
local function is_repeated()
    return redis.call('ZSCORE', DONE, OP)
end

-- All that the caller was not told yet, if that is little: it need not ask for it.
local function news()
    local count = KNOWN and place - KNOWN or 0
    if count > #told and count <= CHANGES_SHOWN then
        return redis.call('LRANGE', CHANGES, -count, -1)
    end
    return told
end

local function ok(...)
    return {'ok', EPOCH or '', place, redis.call('HGET', META, 'mark') or '', news(), ...}
end

local function no(code, more)
    return {'no', code, more or ''}
end

-- Members.

local function member_of(user)
    local found = redis.call('HGET', MEMBERS, user)
    return found and cjson.decode(found)
end

local function save(user, member)
    redis.call('HSET', MEMBERS, user, cjson.encode(member))
    redis.call(member.role == 'owner' and 'SADD' or 'SREM', OWNERS, user)
end

local function participants()
    return whole(redis.call('ZCARD', ORDER))
end

local function role_of(user)
    local member = member_of(user)
    return member and member.role or redis.call('HGET', ROLES, user) or nil
end

local function has_seat(client)
    return EPOCH and redis.call('HEXISTS', CLIENTS, client) == 1
end

local function is_out_of_reach(user, reach)
    local role = role_of(user)
    return role and RANKS[role] > RANKS[reach]
end

local function higher(one, other)
    return RANKS[one] >= RANKS[other] and one or other
end

local function hand_on()
    local heir, best = nil, nil
    for _, user in ipairs(redis.call('ZRANGE', ORDER, 0, -1)) do
        local member = member_of(user)
        if not best or RANKS[member.role] > RANKS[best.role] then
            heir, best = user, member
        end
    end
    best.role = 'owner'
    save(heir, best)
    redis.call('HSET', ROLES, heir, 'owner')
    born(OWNERS) -- the last owner's leaving has ended it, and roles may have been none
    born(ROLES)
    tell('ranked', '', heir, best.id, 'owner', 'server')
end

-- Streams of open asks, in order of asking.
local function open_asks()
    local asks = {}
    for _, text in ipairs(redis.call('HVALS', ASKS)) do
        asks[#asks + 1] = cjson.decode(text)
    end
    table.sort(asks, function(one, other) return one.number < other.number end)
    return asks
end

-- Take a member out with all its seats. Returns the streams that nobody is left for.
local function remove(user, member, reason, origin)
    redis.call('ZREM', ORDER, user)
    redis.call('HDEL', MEMBERS, user)
    redis.call('SREM', OWNERS, user)
    for _, seat in ipairs(member.seats) do
        redis.call('HDEL', CLIENTS, seat[1])
    end
    tell('left', origin, user, cjson.encode(member), participants(), reason)
    local orphans = {}
    if redis.call('ZCARD', ORDER) == 0 then
        for index, ask in ipairs(open_asks()) do
            orphans[index] = ask.stream
        end
        redis.call('HSET', META, 'emptied', whole(NOW))
    end
    return orphans
end

-- Settings.

local function setting(name)
    return redis.call('HGET', META, 's:' .. name)
end

local function settings()
    local fields, parts = redis.call('HGETALL', META), {}
    for index = 1, #fields, 2 do
        if fields[index]:sub(1, 2) == 's:' then
            parts[#parts + 1] = '"' .. fields[index]:sub(3) .. '":' .. fields[index + 1]
        end
    end
    return '{' .. table.concat(parts, ',') .. '}'
end

-- The log. An entry is its time and its seq, in 15 digits each, and what Python made of the rest.

local function seq()
    return tonumber(redis.call('HGET', META, 'seq') or 0)
end

local function numbered(number, blob)
    return string.format('%015.0f%015.0f', NOW, number) .. blob
end

local function append(blob)
    local number = redis.call('HINCRBY', META, 'seq', 1)
    local item = numbered(number, blob)
    if redis.call('RPUSH', LOG, item) == 1 then
        born(LOG)
    end
    redis.call('LTRIM', LOG, -ENTRIES, -1)
    return item, number
end

-- The newest entries up to a seq, oldest first: at most so many, and of so many bytes or only one.
local function entries_to(last, count, size)
    local after = seq() - last -- entries behind that one
    local kept = redis.call('LLEN', LOG) - after
    local found = {}
    while #found < count and #found < kept and size > 0 do
        local stop = -1 - after - #found
        local start = stop + 1 - math.min(PAGE, count - #found, kept - #found)
        local page = redis.call('LRANGE', LOG, start, stop)
        for index = #page, 1, -1 do
            if size > 0 then
                found[#found + 1] = page[index]
                size = size - #page[index]
            end
        end
    end
    local turned = {}
    for index = #found, 1, -1 do
        turned[#turned + 1] = found[index]
    end
    return turned
end
