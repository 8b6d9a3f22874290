-- Strike rooms that have gone off. Arguments: rooms and their epochs in turn.
for index = 1, #ARGV, 2 do
    local room, epoch = ARGV[index], ARGV[index + 1]
    if (redis.call('HGET', EPOCHS, room) or epoch) == epoch then -- else a new one of that name
        redis.call('ZREM', NAMES, room)
        redis.call('HDEL', EPOCHS, room)
        redis.call('ZREM', EMPTY, room)
    end
end
return 1
