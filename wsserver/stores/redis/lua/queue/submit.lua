-- ARGV: 1 channel, 2 streamId, 3 owner, 4 priority, 5 the prompt's estimate, 6 most that wait, 7 job,
-- 8 the model's slots
-- Returns the place in line behind those whom a free slot takes at once, 0 for one of these and for
-- a job that has been claimed meanwhile, -1 if the queue is full.
local stream = ARGV[2]
local note = note_of(stream)
if not note then
    if redis.call('ZCARD', WAITING) >= tonumber(ARGV[6]) + free_slots(ARGV[8]) then
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
return math.max(0, place_of(stream, note) - free_slots(ARGV[8]))
