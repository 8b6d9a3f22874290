-- Arguments: room, epoch, since when it is empty (ms; 'now': Redis' own; no text: it is not).
local room, epoch, emptied = ARGV[1], ARGV[2], ARGV[3]

enlist(room, epoch)
if emptied == '' then
    redis.call('ZREM', EMPTY, room)
else
    redis.call('ZADD', EMPTY, tonumber(emptied) or now_ms(), room)
    live()
end
return 1
