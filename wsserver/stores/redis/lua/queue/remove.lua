-- ARGV: 1 channel, 2 streamId, 3 the claim's name, 4 lease (ms)
local stream = ARGV[2]
local note = note_of(stream)
if not note or (note.claim ~= '' and note.claim ~= ARGV[3]) then
    return false
end
hand_over(stream, note, ARGV[3], ARGV[4])
forget_owners()
ring_places()
return redis.call('HGET', JOBS, stream)
