-- Rooms that have been empty for too long, with their epochs in turn. Arguments: now (empty: Redis'
-- own), how long (ms), how many. The list lasts as long as anyone asks.
local since = (tonumber(ARGV[1]) or now_ms()) - tonumber(ARGV[2])
live()
local found = {}
local names = redis.call('ZRANGEBYSCORE', EMPTY, '-inf', string.format('(%.0f', since),
    'LIMIT', 0, ARGV[3])
for _, room in ipairs(names) do
    found[#found + 1] = room
    found[#found + 1] = redis.call('HGET', EPOCHS, room) or ''
end
return found
