-- ARGV: 1 channel, 2 most claims, 3 name of the claims on what is given up, 4 lease (ms)
-- Puts jobs whose lease has run out back at the head. Returns the jobs that are given up.
local given_up, is_any = {}, false
local due = redis.call('ZRANGEBYSCORE', LEASES, '-inf', now_ms(), 'LIMIT', 0, 100)
for index = #due, 1, -1 do -- so that the first of them comes to stand first
    local stream = due[index]
    local note = note_of(stream)
    if note.claims >= tonumber(ARGV[2]) then
        leave_slot(note)
        hand_over(stream, note, ARGV[3], ARGV[4])
        given_up[#given_up + 1] = redis.call('HGET', JOBS, stream)
    else
        put_back(stream, note)
        is_any = true
    end
end
if is_any then
    keep()
    ring_work()
    ring_places()
end
return given_up
