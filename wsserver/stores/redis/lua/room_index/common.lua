-- Put before every script of the list of rooms.
local NAMES, EPOCHS, EMPTY = KEYS[1], KEYS[2], KEYS[3]

local LIFE = 604800000 -- from the last time that a process looks at it, which all do again and again

local function live()
    for index = 1, 3 do
        redis.call('PEXPIRE', KEYS[index], LIFE)
    end
end

local function enlist(room, epoch)
    redis.call('ZADD', NAMES, 0, room)
    redis.call('HSET', EPOCHS, room, epoch)
    live()
end
