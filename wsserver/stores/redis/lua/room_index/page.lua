-- Rooms after a cursor, by name, with their epochs in turn. Arguments: cursor, how many.
local found = {}
local first = ARGV[1] == '' and '-' or '(' .. ARGV[1]
for _, room in ipairs(redis.call('ZRANGEBYLEX', NAMES, first, '+', 'LIMIT', 0, ARGV[2])) do
    found[#found + 1] = room
    found[#found + 1] = redis.call('HGET', EPOCHS, room) or ''
end
return found
