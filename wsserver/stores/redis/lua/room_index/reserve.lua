-- A place for a new room. Arguments: room, epoch, rooms at most. Returns whether it has one; and
-- if not, some that may be empty with their epochs, the one that is so longest first.
local room, epoch, most = ARGV[1], ARGV[2], tonumber(ARGV[3])

if redis.call('HEXISTS', EPOCHS, room) == 1 then
    return {1, {}}
end
if redis.call('HLEN', EPOCHS) < most then
    enlist(room, epoch)
    return {1, {}}
end
local names = redis.call('ZRANGE', EMPTY, 0, 9)
for _, other in ipairs(redis.call('HRANDFIELD', EPOCHS, 10)) do
    names[#names + 1] = other -- one that has ended unnoticed, as its process died, may be there
end
local found = {}
for _, other in ipairs(names) do
    found[#found + 1] = other
    found[#found + 1] = redis.call('HGET', EPOCHS, other) or ''
end
return {0, found}
