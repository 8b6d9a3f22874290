-- ARGV: 1 channel, 2 what the dead process's claims begin with, 3 most claims
-- What a process had in its keeping, of which it is known that it has died, goes back to the head.
-- What has been claimed too often is left to whoever reaps, and ends it.
local prefix, is_any = ARGV[2], false
local held = redis.call('ZRANGE', LEASES, 0, -1)
for index = #held, 1, -1 do -- so that the first of them comes to stand first
    local stream = held[index]
    local note = note_of(stream)
    if note and note.claim:sub(1, #prefix) == prefix then
        if note.claims >= tonumber(ARGV[3]) then
            redis.call('ZADD', LEASES, now_ms() - 1, stream)
        else
            put_back(stream, note)
            is_any = true
        end
    end
end
if is_any then
    keep()
    ring_work()
    ring_places()
end
return 0
