-- A turn has ended. KEYS: line, leases, placed. ARGV: stream, channel, publish
redis.call('LREM', KEYS[1], 0, ARGV[1])
redis.call('HDEL', KEYS[2], ARGV[1])
redis.call('SREM', KEYS[3], ARGV[1])
ring(ARGV[2], '')
