-- A turn's messages are in the tree. KEYS: line, leases, placed. ARGV: stream, idle (ms), channel,
-- publish
if redis.call('HEXISTS', KEYS[2], ARGV[1]) == 1 then
    redis.call('SADD', KEYS[3], ARGV[1])
    redis.call('PEXPIRE', KEYS[3], ARGV[2])
    ring(ARGV[3], '')
end
