-- ARGV: 1 channel, 2 streamId, 3 the claim's name. The answer has ended: nothing is kept of its job.
local stream = ARGV[2]
local note = note_of(stream)
if not note or note.claim ~= ARGV[3] then
    return 0
end
drop(stream)
leave_slot(note)
return 1
