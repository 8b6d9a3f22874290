-- Add what somebody said to the log. Arguments: client, entry, origin, how long its id is remembered
-- (ms), and the print of the request; with that, the last key remembers it. The op is its messageId.
-- Returns the entry, and whether it is the first call under its id.
local client, blob, origin = ARGV[6], ARGV[7], ARGV[8]
local kept, print, said = ARGV[9], ARGV[10], KEYS[16]

-- An entry by its seq. It may have gone from the log, and keeps its place.
local function entry(number)
    return redis.call('LINDEX', LOG, number - seq() - 1) or numbered(number, blob)
end

if not has_seat(client) then
    return no('not_in_room')
end
local before = said and redis.call('HMGET', said, 'ep', 'seq', 'op', 'print')
if before and before[1] == EPOCH then
    if before[4] ~= print then
        return no('used')
    end
    return ok(entry(tonumber(before[2])), before[3] == OP and 1 or 0)
end
if is_repeated() then
    for _, item in ipairs(redis.call('LRANGE', LOG, -DONE_KEPT, -1)) do
        if item:find(OP, 31, true) then
            return ok(item, 1)
        end
    end
end
local item, number = append(blob)
tell('logged', origin, item)
if said then
    redis.call('HSET', said, 'ep', EPOCH, 'seq', number, 'op', OP, 'print', print)
    redis.call('PEXPIRE', said, kept)
end
return ok(item, 1)
