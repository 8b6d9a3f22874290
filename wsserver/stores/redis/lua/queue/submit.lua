-- ARGV: 1 channel, 2 streamId, 3 owner, 4 priority, 5 the prompt's estimate, 6 most that wait, 7 job
-- Returns the place in line, 0 for a job that has been claimed meanwhile, -1 if the queue is full.
local stream = ARGV[2]
local note = note_of(stream)
if not note then
    if redis.call('ZCARD', WAITING) >= tonumber(ARGV[6]) then
        return -1
    end
    note = new_note(ARGV[3], ARGV[4], ARGV[5])
    redis.call('HSET', JOBS, stream, ARGV[7])
    add(stream, note, false)
    keep()
    ring_work()
    ring_places()
elseif note.claim ~= '' then
    return 0 -- sent again after its reply was lost
end
return place_of(stream, note)
