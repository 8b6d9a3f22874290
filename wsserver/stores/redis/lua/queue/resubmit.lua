-- ARGV: 1 channel, 2 streamId, 3 owner, 4 priority, 5 the prompt's estimate, 6 claim, 7 job
local stream = ARGV[2]
local note = note_of(stream)
if note and note.claim ~= ARGV[6] then
    return 0 -- it waits already, or another has claimed it
end
if not note then -- this Redis has lost what it knew
    note = new_note(ARGV[3], ARGV[4], ARGV[5])
    note.claims = 1
    redis.call('HSET', JOBS, stream, ARGV[7])
end
note.claims = note.claims - 1 -- its engine died, its runner did not
put_back(stream, note)
keep()
ring_work()
ring_places()
return 1
