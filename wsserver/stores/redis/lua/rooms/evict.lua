-- End a room that nobody is in. Returns whether there is none now.
if EPOCH and redis.call('ZCARD', ORDER) > 0 then
    return 0
end
delete_room()
return 1
