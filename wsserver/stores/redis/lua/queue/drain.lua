-- ARGV: 1 channel, 2 the claims' name, 3 lease (ms). Hands over all that wait, owner by owner.
local jobs = {}
for _, member in ipairs(redis.call('ZRANGE', WAITING, 0, -1)) do
    local stream = stream_of(member)
    hand_over(stream, note_of(stream), ARGV[2], ARGV[3])
    jobs[#jobs + 1] = redis.call('HGET', JOBS, stream)
end
forget_owners()
ring_places()
return jobs
