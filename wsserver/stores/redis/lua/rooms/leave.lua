-- Take a seat away. Arguments: user, client, reason, origin, the last take of the client that is known
-- (empty: whatever it did since). Returns the streams that nobody is left for, and what became of the
-- room.
local user, client, reason, origin = ARGV[6], ARGV[7], ARGV[8], ARGV[9]
local takes = tonumber(ARGV[10])

local member = EPOCH and member_of(user)
local at = nil
for index, seat in ipairs(member and member.seats or {}) do
    if seat[1] == client and (not takes or seat[3] <= takes) then
        at = index
    end
end
if not at then
    -- Gone already. Whoever did not get the answer asks again for the streams.
    return ok(redis.call('HGET', ORPHANS, client) or '', '')
end
if #member.seats > 1 then
    table.remove(member.seats, at)
    save(user, member)
    redis.call('HDEL', CLIENTS, client)
    tell('moved', '', client, '')
    return ok('', '')
end
local orphans = table.concat(remove(user, member, reason, origin), ' ')
if orphans ~= '' then
    redis.call('HSET', ORPHANS, client, orphans)
    redis.call('PEXPIRE', ORPHANS, ORPHANS_LIFE)
end
if redis.call('ZCARD', ORDER) > 0 then
    if member.role == 'owner' and redis.call('SCARD', OWNERS) == 0 then
        hand_on()
    end
    return ok(orphans, '')
end
local reply = ok(orphans, KEEP > 0 and 'kept' or 'gone')
if KEEP > 0 then
    live(KEEP + ORPHANS_LIFE)
else
    delete_room()
end
return reply
