-- Whoever leads a turn has died. KEYS: line, leases, placed. ARGV: stream, channel, publish
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
    redis.call('HSET', KEYS[2], ARGV[1], 0)
    ring(ARGV[2], '')
end
