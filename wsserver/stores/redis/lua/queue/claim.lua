-- ARGV: 1 channel, 2 the claim's name, 3 lease (ms)
local first = redis.call('ZRANGE', LINE, 0, 0)[1]
if not first then
    return false
end
local owner = owner_of(first)
local stream = stream_of(head(owner))
local note, row = note_of(stream), row_of(owner)
redis.call('ZREM', WAITING, note.member)
row.running = row.running + 1
count_running(1)
row.turn = redis.call('HINCRBY', COUNTS, 'turns', 1)
row.counter = row.counter + note.estimate
settle(owner, row)
note.claim, note.is_running, note.claims = ARGV[2], true, note.claims + 1
keep_note(stream, note)
redis.call('ZADD', LEASES, now_ms() + ARGV[3], stream)
keep()
if redis.call('ZCARD', WAITING) > 0 then
    ring_places()
end
return redis.call('HGET', JOBS, stream)
