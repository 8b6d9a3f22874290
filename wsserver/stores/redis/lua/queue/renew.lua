-- ARGV: 1 channel, 2 lease (ms), then for each job: streamId, the claim's name
-- Returns the streamIds that nothing is known of.
local due, unknown = now_ms() + ARGV[2], {}
for index = 3, #ARGV - 2, 2 do
    local stream = ARGV[index]
    local note = note_of(stream)
    if not note then
        unknown[#unknown + 1] = stream
    elseif note.claim == ARGV[index + 1] then
        redis.call('ZADD', LEASES, due, stream)
    end
end
keep()
return unknown
