-- ARGV: 1 channel, 2 streamId, 3 the claim's name. The slot is free; the lease stands on.
local stream = ARGV[2]
local note = note_of(stream)
if not note or note.claim ~= ARGV[3] or not note.is_running then
    return 0
end
leave_slot(note)
keep_note(stream, note)
return 1
