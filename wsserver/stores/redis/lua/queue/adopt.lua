-- ARGV: 1 channel, 2 streamId, 3 owner, 4 priority, 5 estimate, 6 claim, 7 job, 8 lease (ms)
-- A running job that this Redis has forgotten: its lease stands again.
local stream, owner = ARGV[2], ARGV[3]
if note_of(stream) then
    return 0
end
local note = new_note(owner, ARGV[4], ARGV[5])
note.claim, note.is_running, note.claims = ARGV[6], true, 1
redis.call('HSET', JOBS, stream, ARGV[7])
keep_note(stream, note)
redis.call('ZADD', LEASES, now_ms() + ARGV[8], stream)
local row = row_of(owner) or new_row(least_active())
row.running = row.running + 1
count_running(1)
settle(owner, row)
keep()
return 1
